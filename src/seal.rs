//! Sealing of credentials at rest: XChaCha20-Poly1305, the key from outside the database.

use crate::words::ConnectionId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use rand::TryRng;
use secrecy::{ExposeSecret, SecretString};

/// Nonce length of XChaCha20-Poly1305, bytes: long enough to be drawn at random.
const NONCE: usize = 24;

/// Why a secret cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key is not 32 bytes in base64.
    #[error("the sealing key must be 32 bytes in base64; make one with `openssl rand -base64 32`")]
    BadKey,
    /// The operating system gave no randomness.
    #[error("the system gives no random bytes: {0}")]
    NoRandomness(String),
    /// Another key sealed it, or it was altered or moved to another row.
    #[error("the secret of connection {0} cannot be opened: was it sealed with another key?")]
    Unopenable(ConnectionId),
}

/// Seals and opens.
#[derive(Clone)]
pub struct Sealer(XChaCha20Poly1305);

impl Sealer {
    /// With this key: 32 bytes in base64.
    pub fn new(key: &SecretString) -> Result<Self, SealError> {
        let bytes = STANDARD.decode(key.expose_secret().trim()).map_err(|_| SealError::BadKey)?;
        XChaCha20Poly1305::new_from_slice(&bytes).map(Self).map_err(|_| SealError::BadKey)
    }

    /// A new key.
    pub fn generate_key() -> Result<SecretString, SealError> {
        Ok(STANDARD.encode(random::<32>()?).into())
    }

    /// Seals a secret for one connection; moved to another row it does not open.
    pub fn seal(&self, owner: ConnectionId, secret: &SecretString) -> Result<Vec<u8>, SealError> {
        let nonce = random::<NONCE>()?;
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: &owner.0.to_be_bytes() };
        let sealed =
            self.0.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Unopenable(owner))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`Self::seal`] made.
    pub fn open(&self, owner: ConnectionId, sealed: &[u8]) -> Result<SecretString, SealError> {
        let unopenable = || SealError::Unopenable(owner);
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or_else(unopenable)?;
        let payload = Payload { msg: sealed, aad: &owner.0.to_be_bytes() };
        let plain = self.0.decrypt(&XNonce::from(*nonce), payload).map_err(|_| unopenable())?;
        String::from_utf8(plain).map(SecretString::from).map_err(|_| unopenable())
    }
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

    #[test]
    fn opens_only_what_it_sealed_for_the_same_connection() {
        let sealer = Sealer::new(&Sealer::generate_key().unwrap()).unwrap();
        let mut sealed = sealer.seal(ConnectionId(1), &"hunter2".into()).unwrap();
        assert_eq!(sealer.open(ConnectionId(1), &sealed).unwrap().expose_secret(), "hunter2");
        assert!(sealer.open(ConnectionId(2), &sealed).is_err());
        assert!(
            Sealer::new(&Sealer::generate_key().unwrap()).unwrap().open(ConnectionId(1), &sealed).is_err()
        );
        sealed[30] ^= 1;
        assert!(sealer.open(ConnectionId(1), &sealed).is_err());
        assert!(sealer.open(ConnectionId(1), b"short").is_err());
        assert!(Sealer::new(&"c2hvcnQ=".into()).is_err());
    }
}
