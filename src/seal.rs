//! Encryption of credentials at rest: XChaCha20-Poly1305 with a key from outside the database.
//!
//! A sealed value names its key, so that several keys can be in use during a rotation. Layout: `pck1`, eight bytes of
//! the key's SHA-256, a nonce of 24 bytes, the ciphertext with its tag.

use crate::words::{ConnectionId, Secrets, SigningSecrets, Token, UnixMs, WebhookId};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use rand::TryRng;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Nonce length of XChaCha20-Poly1305, bytes; long enough for random nonces.
const NONCE: usize = 24;

/// Prefix of sealed values; only those sealed before keys had names lack it.
const MAGIC: [u8; 4] = *b"pck1";

/// Why a secret cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key is not 32 bytes in base64.
    #[error("the sealing key is not 32 bytes in base64; create one with `openssl rand -base64 32`")]
    BadKey,
    /// The key is one that anybody would try first.
    #[error(
        "the sealing key is all zeros, which anybody can guess; create one with `openssl rand -base64 32`"
    )]
    ZeroKey,
    /// The operating system returned no random bytes.
    #[error("the operating system returned no random bytes: {0}")]
    NoRandomness(String),
    /// It was sealed with another key, altered, or moved to another row.
    #[error(
        "cannot open the secret of connection {0}: altered, or sealed with a key that is not in secret.former_keys"
    )]
    Unopenable(ConnectionId),
    /// Likewise a webhook's.
    #[error(
        "cannot open the secret of webhook {0}: altered, or sealed with a key that is not in secret.former_keys"
    )]
    UnopenableWebhook(WebhookId),
}

/// What the canary says, and its associated data: it opens only as a canary.
const CANARY: &str = "canary";

/// What is sealed and for which connection. A sealed value opens only in the context it was sealed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealContext {
    /// A connection's own credentials.
    Secrets(ConnectionId),
    /// Its access and refresh token.
    Token(ConnectionId),
    /// The secrets of a pending authorization.
    Authorisation(ConnectionId),
}

impl SealContext {
    /// The connection.
    pub fn owner(self) -> ConnectionId {
        let (Self::Secrets(owner) | Self::Token(owner) | Self::Authorisation(owner)) = self;
        owner
    }

    /// The associated data: authenticated, but not stored.
    fn associated_data(self) -> Vec<u8> {
        let what = match self {
            Self::Secrets(_) => "secrets",
            Self::Token(_) => "token",
            Self::Authorisation(_) => "authorisation",
        };
        format!("{what} of connection {}", self.owner()).into_bytes()
    }
}

/// Seals and opens secrets.
#[derive(Clone)]
pub struct Sealer {
    current: Arc<Key>,
    /// Only open what they sealed before.
    former: Arc<[Key]>,
}

struct Key {
    name: [u8; 8],
    cipher: XChaCha20Poly1305,
}

impl Key {
    fn new(key: &SecretString) -> Result<Self, SealError> {
        let bytes = STANDARD.decode(key.expose_secret().trim()).map_err(|_| SealError::BadKey)?;
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| SealError::BadKey)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(SealError::ZeroKey);
        }
        let mut name = [0; 8];
        name.copy_from_slice(&Sha256::digest(&bytes)[..8]);
        Ok(Self { name, cipher })
    }

    fn open(&self, nonce: [u8; NONCE], sealed: &[u8], associated_data: &[u8]) -> Option<SecretString> {
        let plain =
            self.cipher.decrypt(&XNonce::from(nonce), Payload { msg: sealed, aad: associated_data }).ok()?;
        String::from_utf8(plain).map(SecretString::from).ok()
    }
}

impl Sealer {
    /// Uses `key`: 32 bytes in base64.
    pub fn new(key: &SecretString) -> Result<Self, SealError> {
        Self::with_former(key, &[])
    }

    /// Uses `key` to seal, and `former` keys only to open what they sealed before.
    pub fn with_former(key: &SecretString, former: &[SecretString]) -> Result<Self, SealError> {
        let former = former.iter().map(Key::new).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { current: Arc::new(Key::new(key)?), former: former.into() })
    }

    /// Creates a random key.
    pub fn generate_key() -> Result<SecretString, SealError> {
        Ok(STANDARD.encode(random::<32>()?).into())
    }

    /// Prefix of everything sealed with the current key.
    pub fn current_prefix(&self) -> Vec<u8> {
        [MAGIC.as_slice(), &self.current.name].concat()
    }

    /// Seals a secret for one context.
    pub fn seal(&self, context: SealContext, secret: &SecretString) -> Result<Vec<u8>, SealError> {
        self.seal_with(&context.associated_data(), secret.expose_secret())?
            .ok_or(SealError::Unopenable(context.owner()))
    }

    /// Seals a known text, by which a process with another key is recognised.
    pub fn seal_canary(&self) -> Result<Vec<u8>, SealError> {
        self.seal_with(CANARY.as_bytes(), CANARY)?.ok_or(SealError::BadKey)
    }

    /// Whether the current or a former key made this canary.
    pub fn opens_canary(&self, sealed: &[u8]) -> bool {
        self.open_with(CANARY.as_bytes(), sealed).is_some()
    }

    fn seal_with(&self, associated_data: &[u8], plain: &str) -> Result<Option<Vec<u8>>, SealError> {
        let nonce = random::<NONCE>()?;
        let payload = Payload { msg: plain.as_bytes(), aad: associated_data };
        let sealed = self.current.cipher.encrypt(&XNonce::from(nonce), payload).ok();
        Ok(sealed.map(|sealed| [self.current_prefix().as_slice(), &nonce, &sealed].concat()))
    }

    fn open_with(&self, associated_data: &[u8], sealed: &[u8]) -> Option<SecretString> {
        let (name, rest) = sealed.strip_prefix(&MAGIC)?.split_first_chunk::<8>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        self.keys().find(|key| key.name == *name)?.open(*nonce, sealed, associated_data)
    }

    /// Opens what [`Self::seal`] made.
    pub fn open(&self, context: SealContext, sealed: &[u8]) -> Result<SecretString, SealError> {
        let opened = self.open_with(&context.associated_data(), sealed);
        opened.ok_or(SealError::Unopenable(context.owner()))
    }

    /// Seals all secrets of a connection as one value.
    pub fn seal_secrets(&self, owner: ConnectionId, secrets: &Secrets) -> Result<Vec<u8>, SealError> {
        let plain: BTreeMap<&str, &str> =
            secrets.iter().map(|(name, secret)| (name, secret.expose_secret())).collect();
        let text = serde_json::to_string(&plain).map_err(|_| SealError::Unopenable(owner))?;
        self.seal(SealContext::Secrets(owner), &text.into())
    }

    /// Opens what [`Self::seal_secrets`] made, or the connection's only secret, sealed before secrets had names.
    pub fn open_secrets(&self, owner: ConnectionId, sealed: &[u8]) -> Result<Secrets, SealError> {
        match self.open(SealContext::Secrets(owner), sealed) {
            Ok(text) => serde_json::from_str::<BTreeMap<String, SecretString>>(text.expose_secret())
                .map(Secrets::from_iter)
                .map_err(|_| SealError::Unopenable(owner)),
            Err(error) => self.open_unprefixed(owner, sealed).map(Secrets::only).ok_or(error),
        }
    }

    /// Reseals with the current key what any known key sealed for this context.
    pub fn reseal(&self, context: SealContext, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        match context {
            SealContext::Secrets(owner) => self.seal_secrets(owner, &self.open_secrets(owner, sealed)?),
            SealContext::Token(_) | SealContext::Authorisation(_) => {
                self.seal(context, &self.open(context, sealed)?)
            }
        }
    }

    /// Seals the access and refresh token as one value.
    pub fn seal_token(&self, owner: ConnectionId, token: &Token) -> Result<Vec<u8>, SealError> {
        let refresh = token.refresh.as_ref().map(ExposeSecret::expose_secret);
        let text = serde_json::to_string(&(token.access.expose_secret(), refresh));
        self.seal(SealContext::Token(owner), &text.map_err(|_| SealError::Unopenable(owner))?.into())
    }

    /// Opens what [`Self::seal_token`] made.
    pub fn open_token(
        &self,
        owner: ConnectionId,
        sealed: &[u8],
    ) -> Result<(SecretString, Option<SecretString>), SealError> {
        let text = self.open(SealContext::Token(owner), sealed)?;
        serde_json::from_str(text.expose_secret()).map_err(|_| SealError::Unopenable(owner))
    }

    /// Seals the secrets that sign a webhook's deliveries.
    pub fn seal_signing(&self, owner: WebhookId, secrets: &SigningSecrets) -> Result<Vec<u8>, SealError> {
        let failed = || SealError::UnopenableWebhook(owner);
        let former = secrets.former.iter().map(|(secret, until)| (secret.expose_secret(), until.0));
        let all = (secrets.current.expose_secret(), former.collect::<Vec<_>>());
        let text = SecretString::from(serde_json::to_string(&all).map_err(|_| failed())?);
        self.seal_with(&webhook_data(owner), text.expose_secret())?.ok_or_else(failed)
    }

    /// Opens what [`Self::seal_signing`] made.
    pub fn open_signing(&self, owner: WebhookId, sealed: &[u8]) -> Result<SigningSecrets, SealError> {
        let opened = self.open_with(&webhook_data(owner), sealed);
        let all = opened.and_then(|text| {
            serde_json::from_str::<(SecretString, Vec<(SecretString, i64)>)>(text.expose_secret()).ok()
        });
        let (current, former) = all.ok_or(SealError::UnopenableWebhook(owner))?;
        let former = former.into_iter().map(|(secret, until)| (secret, UnixMs(until))).collect();
        Ok(SigningSecrets { current, former })
    }

    /// Opens the old layout: a nonce and the ciphertext, with the connection's number as associated data.
    fn open_unprefixed(&self, owner: ConnectionId, sealed: &[u8]) -> Option<SecretString> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        self.keys().find_map(|key| key.open(*nonce, sealed, &owner.0.to_be_bytes()))
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&*self.current).chain(self.former.iter())
    }
}

/// The associated data of a webhook's secrets.
fn webhook_data(owner: WebhookId) -> Vec<u8> {
    format!("secrets of webhook {owner}").into_bytes()
}

/// Bytes from the operating system, for keys and nonces.
pub fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(|e| SealError::NoRandomness(e.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: ConnectionId = ConnectionId(1);

    fn pairs(secrets: &Secrets) -> Vec<(&str, &str)> {
        secrets.iter().map(|(name, secret)| (name, secret.expose_secret())).collect()
    }

    #[test]
    fn sealed_secrets_open_only_for_the_same_connection_and_key() {
        let sealer = Sealer::new(&Sealer::generate_key().unwrap()).unwrap();
        let mut secrets = Secrets::only("hunter2");
        secrets.insert("key", "a\"b".into());
        let mut sealed = sealer.seal_secrets(MAIN, &secrets).unwrap();
        assert_eq!(
            pairs(&sealer.open_secrets(MAIN, &sealed).unwrap()),
            [("key", "a\"b"), ("secret", "hunter2")]
        );
        assert!(sealer.open_secrets(ConnectionId(2), &sealed).is_err());
        let other = Sealer::new(&Sealer::generate_key().unwrap()).unwrap();
        assert!(other.open_secrets(MAIN, &sealed).is_err());
        sealed[40] ^= 1;
        assert!(sealer.open_secrets(MAIN, &sealed).is_err());
        assert!(sealer.open_secrets(MAIN, b"short").is_err());
        assert!(Sealer::new(&"c2hvcnQ=".into()).is_err());
        assert!(Sealer::new(&STANDARD.encode([0; 32]).into()).is_err());
    }

    #[test]
    fn signing_secrets_open_only_for_the_same_webhook() {
        let sealer = Sealer::new(&Sealer::generate_key().unwrap()).unwrap();
        let secrets = SigningSecrets { current: "new".into(), former: vec![("old".into(), UnixMs(7))] };
        let sealed = sealer.seal_signing(WebhookId(1), &secrets).unwrap();
        let opened = sealer.open_signing(WebhookId(1), &sealed).unwrap();
        let valid: Vec<_> = opened.valid(UnixMs(6)).map(ExposeSecret::expose_secret).collect();
        assert_eq!(valid, ["new", "old"]);
        assert!(sealer.open_signing(WebhookId(2), &sealed).is_err());
        assert!(sealer.open(SealContext::Secrets(MAIN), &sealed).is_err());
    }

    #[test]
    fn former_key_opens_and_current_key_seals() {
        let [old, new] = [(); 2].map(|()| Sealer::generate_key().unwrap());
        let before = Sealer::new(&old).unwrap().seal_secrets(MAIN, &Secrets::only("hunter2")).unwrap();
        let both = Sealer::with_former(&new, &[old]).unwrap();
        let opened = both.open_secrets(MAIN, &before).unwrap();
        assert_eq!(pairs(&opened), [("secret", "hunter2")]);
        let after = both.seal_secrets(MAIN, &opened).unwrap();
        assert!(after.starts_with(&both.current_prefix()) && !before.starts_with(&both.current_prefix()));
        assert!(Sealer::new(&new).unwrap().open_secrets(MAIN, &after).is_ok());
    }

    #[test]
    fn secret_sealed_before_secrets_had_names_opens() {
        let key = Sealer::generate_key().unwrap();
        let cipher = Key::new(&key).unwrap().cipher;
        let (nonce, aad) = ([7; NONCE], 1_i64.to_be_bytes());
        let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: b"hunter2", aad: &aad }).unwrap();
        let sealed = [nonce.as_slice(), &sealed].concat();
        let opened = Sealer::new(&key).unwrap().open_secrets(MAIN, &sealed).unwrap();
        assert_eq!(pairs(&opened), [("secret", "hunter2")]);
        assert!(Sealer::new(&key).unwrap().open_secrets(ConnectionId(2), &sealed).is_err());
    }
}
