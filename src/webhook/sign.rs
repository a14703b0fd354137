//! Signs deliveries as Standard Webhooks says (<https://www.standardwebhooks.com>, version 1.0.0). Pure, but for new
//! secrets.

use crate::seal::{SealError, random};
use crate::words::{SigningSecrets, UnixMs};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Marks a secret; its key is the base64 after it.
const PREFIX: &str = "whsec_";

/// A new secret: 256 random bits.
pub(super) fn new_secret() -> Result<SecretString, SealError> {
    Ok(format!("{PREFIX}{}", STANDARD.encode(random::<32>()?)).into())
}

/// The headers of a delivery, with a signature by each valid secret.
pub(super) fn headers(
    secrets: &SigningSecrets,
    id: &str,
    now: UnixMs,
    body: &str,
) -> [(&'static str, String); 3] {
    let timestamp = now.0.div_euclid(1000).to_string();
    let signed: Vec<_> =
        secrets.valid(now).filter_map(|secret| signature(secret, id, &timestamp, body)).collect();
    [("webhook-id", id.to_owned()), ("webhook-timestamp", timestamp), ("webhook-signature", signed.join(" "))]
}

/// None if the secret is not one of [`new_secret`].
fn signature(secret: &SecretString, id: &str, timestamp: &str, body: &str) -> Option<String> {
    let key = STANDARD.decode(secret.expose_secret().strip_prefix(PREFIX)?).ok()?;
    // HMAC takes keys of any length (RFC 2104, 3).
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).ok()?;
    for part in [id, ".", timestamp, ".", body] {
        mac.update(part.as_bytes());
    }
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    /// The example of the standard's reference libraries.
    #[test]
    fn signature_is_that_of_the_standard() {
        let secrets = SigningSecrets::only(SECRET.into());
        let at = UnixMs(1_614_265_330_999);
        let headers =
            headers(&secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, "{\"test\": 2432232314}").map(|(_, v)| v);
        assert_eq!(headers[0], "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(headers[1], "1614265330");
        assert_eq!(headers[2], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_valid_secret_signs() {
        let next = new_secret().unwrap();
        assert!(next.expose_secret().starts_with(PREFIX) && next.expose_secret().len() == 50);
        let secrets = SigningSecrets::only(SECRET.into()).rotated(next, UnixMs(0), UnixMs(10_000));
        let signed = |now| headers(&secrets, "msg_1", UnixMs(now), "{}")[2].1.clone();
        assert_eq!(signed(9_999).split(' ').count(), 2);
        assert_eq!(signed(10_000).split(' ').count(), 1);
    }
}
