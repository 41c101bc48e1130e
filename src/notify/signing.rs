//! Signatures as in Standard Webhooks.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha2::Sha256;

use crate::domain::NotificationId;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// How long a key is, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The keys that sign notifications. While a secret is rotated there are several, and each of them signs.
#[derive(Clone)]
pub struct SigningKeys(Arc<[SecretSlice<u8>]>);

/// Why a secret is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSigningKey {
    /// It does not begin with `whsec_`.
    #[error("must begin with whsec_, followed by 24 to 64 random bytes in base64")]
    Prefix,
    /// The rest is not base64.
    #[error("must be whsec_ and base64 with its padding: what follows whsec_ is not")]
    Base64,
    /// The key is too short or too long.
    #[error("must be whsec_ and 24 to 64 bytes in base64, not {0} bytes")]
    Length(usize),
}

impl SigningKeys {
    /// Parses secrets such as `whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`.
    pub fn parse(secrets: &[SecretString]) -> Result<Self, InvalidSigningKey> {
        secrets.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// How many keys there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The value of `webhook-signature`: one signature per key, separated by spaces.
    #[must_use]
    pub fn sign(&self, id: NotificationId, timestamp: DateTime<Utc>, body: &[u8]) -> String {
        self.sign_text(&id.to_string(), timestamp, body)
    }

    fn sign_text(&self, id: &str, timestamp: DateTime<Utc>, body: &[u8]) -> String {
        let signed = |key: &SecretSlice<u8>| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret()).expect("HMAC takes a key of any length");
            mac.update(format!("{id}.{}.", timestamp.timestamp()).as_bytes());
            mac.update(body);
            format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
        };
        self.0.iter().map(signed).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({})", self.count())
    }
}

fn key(secret: &SecretString) -> Result<SecretSlice<u8>, InvalidSigningKey> {
    let encoded = secret.expose_secret().trim().strip_prefix(PREFIX).ok_or(InvalidSigningKey::Prefix)?;
    let key = BASE64_STANDARD.decode(encoded).map_err(|_| InvalidSigningKey::Base64)?;
    if !KEY_BYTES.contains(&key.len()) {
        return Err(InvalidSigningKey::Length(key.len()));
    }
    Ok(SecretSlice::from(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification and of its libraries.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let keys = SigningKeys::parse(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()]).unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let at = DateTime::from_timestamp(1_614_265_330, 0).unwrap();
        assert_eq!(
            keys.sign_text(id, at, br#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn every_key_signs() {
        let [a, b] = ["A", "B"].map(|letter| SecretString::from(format!("whsec_{}", letter.repeat(32))));
        let (id, at) = (NotificationId::new(uuid::Uuid::nil()), DateTime::UNIX_EPOCH);
        let one =
            |secret: &SecretString| SigningKeys::parse(std::slice::from_ref(secret)).unwrap().sign(id, at, b"body");
        let both = SigningKeys::parse(&[a.clone(), b.clone()]).unwrap().sign(id, at, b"body");
        assert_eq!(both, format!("{} {}", one(&a), one(&b)));
        assert_ne!(one(&a), one(&b));
    }

    #[test]
    fn a_secret_that_is_not_a_key_says_why_and_never_shows() {
        for (secret, expected) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), InvalidSigningKey::Prefix),
            ("whsec_hush!".to_owned(), InvalidSigningKey::Base64),
            (format!("whsec_{}", "A".repeat(31)), InvalidSigningKey::Base64),
            ("whsec_".to_owned(), InvalidSigningKey::Length(0)),
            (format!("whsec_{}", "A".repeat(28)), InvalidSigningKey::Length(21)),
            (format!("whsec_{}", "A".repeat(88)), InvalidSigningKey::Length(66)),
        ] {
            assert_eq!(SigningKeys::parse(&[secret.clone().into()]).unwrap_err(), expected, "{secret}");
        }
        let keys = SigningKeys::parse(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()]).unwrap();
        assert_eq!(format!("{keys:?}"), "SigningKeys(1)");
    }
}
