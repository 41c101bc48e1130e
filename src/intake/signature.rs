//! Verifies the signatures of deliveries.
//!
//! [`Verifier::verify`] takes the two signature headers and the raw body, and returns a [`Verified`] or [`Stale`] delivery, or
//! a [`Rejection`].
//!
//! Guaranteed:
//! - Only this module creates [`Verified`] and [`Stale`], so an unsigned body cannot be recorded.
//! - Every secret is tried, and signatures are compared in constant time, so response times reveal nothing about a secret.
//!
//! The signature covers the text of the timestamp header exactly as it was sent, a `.`, and the raw body. Nothing is parsed,
//! trimmed, or decoded before the signature is verified.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// The header with the signature: 64 hex digits.
pub const SIGNATURE_HEADER: &str = "magic-hour-event-signature";
/// The header with the timestamp: Unix seconds.
pub const TIMESTAMP_HEADER: &str = "magic-hour-event-timestamp";

/// The signature of `body` at `timestamp`, in lowercase hex.
///
/// `secret` is used unchanged, including a prefix such as `whsec_`.
#[must_use]
pub fn sign_delivery(secret: &SecretString, timestamp: &str, body: &[u8]) -> String {
    hex::encode(hmac(&hmac_key(secret), timestamp, body))
}

fn hmac_key(secret: &SecretString) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC accepts keys of any length")
}

fn hmac(key: &Hmac<Sha256>, timestamp: &str, body: &[u8]) -> [u8; 32] {
    let mut mac = key.clone();
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// The two signature headers of a delivery: well-formed, but not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureHeaders {
    timestamp: String,
    seconds: i64,
    signature: [u8; 32],
}

impl SignatureHeaders {
    /// Parses all values of the two headers.
    pub fn parse<'a>(
        signatures: impl IntoIterator<Item = &'a [u8]>,
        timestamps: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, Rejection> {
        let signature = single_value(signatures, Rejection::SignatureMissing, Rejection::SignatureRepeated)?;
        let timestamp = single_value(timestamps, Rejection::TimestampMissing, Rejection::TimestampRepeated)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(signature, &mut bytes).map_err(|_| Rejection::SignatureMalformed)?;
        let seconds = unix_seconds(timestamp).ok_or(Rejection::TimestampMalformed)?;
        let timestamp = String::from_utf8_lossy(timestamp).into_owned(); // lossless, because these are ASCII digits
        Ok(Self { timestamp, seconds, signature: bytes })
    }
}

fn single_value<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
    missing: Rejection,
    repeated: Rejection,
) -> Result<&'a [u8], Rejection> {
    let mut values = values.into_iter();
    let first = values.next().ok_or(missing)?;
    values.next().map_or(Ok(first), |_| Err(repeated))
}

/// Parses decimal digits. Signs, spaces, and fractions are invalid.
fn unix_seconds(text: &[u8]) -> Option<i64> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// An authentic delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The raw body.
    pub body: Bytes,
    /// The signed timestamp; `None` if it is out of range.
    pub sent_at: Option<DateTime<Utc>>,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
}

impl Delivery {
    /// The time from signing to arrival. Negative if the sender's clock is ahead.
    #[must_use]
    pub fn lag(&self) -> Option<TimeDelta> {
        self.sent_at.map(|sent_at| self.received_at - sent_at)
    }

    /// The lag in milliseconds.
    #[must_use]
    pub fn lag_ms(&self) -> Option<i64> {
        self.lag().map(|lag| lag.num_milliseconds())
    }
}

/// An authentic delivery with a timestamp within the tolerance. Its payload can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified(Delivery);

impl Verified {
    /// The delivery.
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.0
    }
}

/// An authentic delivery with a timestamp outside the tolerance. It may be a replay, so its payload is not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale(Delivery);

impl Stale {
    /// The delivery.
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.0
    }
}

/// Why a request is not authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No signature header.
    #[error("the header magic-hour-event-signature is missing")]
    SignatureMissing,
    /// More than one signature header.
    #[error("the header magic-hour-event-signature was sent more than once")]
    SignatureRepeated,
    /// The signature is not 64 hex digits.
    #[error("the header magic-hour-event-signature is not 64 hex digits")]
    SignatureMalformed,
    /// No timestamp header.
    #[error("the header magic-hour-event-timestamp is missing")]
    TimestampMissing,
    /// More than one timestamp header.
    #[error("the header magic-hour-event-timestamp was sent more than once")]
    TimestampRepeated,
    /// The timestamp is not Unix seconds in digits.
    #[error("the header magic-hour-event-timestamp is not Unix seconds in decimal digits")]
    TimestampMalformed,
    /// The signature matches no secret.
    #[error("the signature matches none of the secrets: is MAGIC_HOUR_WEBHOOK_SECRET the one shown in Developer Hub?")]
    SignatureWrong,
}

impl Rejection {
    /// A stable code for the log field `error`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::SignatureMissing => "signature_missing",
            Self::SignatureRepeated => "signature_repeated",
            Self::SignatureMalformed => "signature_malformed",
            Self::TimestampMissing => "timestamp_missing",
            Self::TimestampRepeated => "timestamp_repeated",
            Self::TimestampMalformed => "timestamp_malformed",
            Self::SignatureWrong => "signature_wrong",
        }
    }
}

/// Verifies signatures with the configured secrets and tolerance.
#[derive(Clone)]
pub struct Verifier {
    keys: Vec<Hmac<Sha256>>,
    tolerance: TimeDelta,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("keys", &self.keys.len()).field("tolerance", &self.tolerance).finish()
    }
}

impl Verifier {
    /// Accepts signatures by any of `secrets`, and timestamps up to and including `tolerance` before or after the current time.
    #[must_use]
    pub fn new(secrets: &[SecretString], tolerance: Duration) -> Self {
        Self {
            keys: secrets.iter().map(hmac_key).collect(),
            tolerance: TimeDelta::from_std(tolerance).unwrap_or(TimeDelta::MAX),
        }
    }

    /// Verifies a delivery that arrived at `now`.
    pub fn verify(&self, headers: &SignatureHeaders, body: Bytes, now: DateTime<Utc>) -> Result<Authentic, Rejection> {
        let matches = self.keys.iter().fold(Choice::from(0), |matches, key| {
            matches | hmac(key, &headers.timestamp, &body).ct_eq(&headers.signature)
        });
        if !bool::from(matches) {
            return Err(Rejection::SignatureWrong);
        }
        let sent_at = DateTime::from_timestamp(headers.seconds, 0);
        let delivery = Delivery { body, sent_at, received_at: now };
        // Compares whole seconds, because the header has no fraction.
        let skew = TimeDelta::try_seconds(now.timestamp().saturating_sub(headers.seconds)).unwrap_or(TimeDelta::MAX);
        Ok(if skew.abs() <= self.tolerance {
            Authentic::Fresh(Verified(delivery))
        } else {
            Authentic::Stale(Stale(delivery))
        })
    }
}

/// Whether an authentic delivery can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentic {
    /// The timestamp is within the tolerance.
    Fresh(Verified),
    /// The timestamp is too old or too far in the future.
    Stale(Stale),
}

impl Authentic {
    /// The delivery.
    pub(super) fn delivery(&self) -> &Delivery {
        match self {
            Self::Fresh(verified) => verified.delivery(),
            Self::Stale(stale) => stale.delivery(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_test";
    const TIMESTAMP: &str = "1729314984";
    const BODY: &[u8] = br#"{"type":"video.completed","payload":{"id":"clx123","status":"complete","downloads":[{"url":"https://videos.magichour.ai/output.mp4"}]}}"#;
    const SIGNATURE: &str = "3324fb8545fa34635097b04bfe67fb4d72d587dc64481a801db02c560d6cd426";

    fn verifier(secrets: &[&str]) -> Verifier {
        let secrets: Vec<_> = secrets.iter().map(|&secret| SecretString::from(secret)).collect();
        Verifier::new(&secrets, Duration::from_mins(5))
    }

    fn headers(signature: &str, timestamp: &str) -> Result<SignatureHeaders, Rejection> {
        SignatureHeaders::parse([signature.as_bytes()], [timestamp.as_bytes()])
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn verify(secrets: &[&str], body: &'static [u8], now: i64) -> Result<Authentic, Rejection> {
        verifier(secrets).verify(&headers(SIGNATURE, TIMESTAMP)?, Bytes::from_static(body), at(now))
    }

    #[test]
    fn the_documented_signature_is_created_and_verified() {
        assert_eq!(sign_delivery(&SecretString::from(SECRET), TIMESTAMP, BODY), SIGNATURE);
        let Ok(Authentic::Fresh(verified)) = verify(&[SECRET], BODY, 1_729_314_985) else { panic!("not verified") };
        assert_eq!(verified.delivery().body, BODY);
        assert_eq!(verified.delivery().lag(), Some(TimeDelta::seconds(1)));
    }

    #[test]
    fn every_secret_is_accepted_and_used_unchanged() {
        assert!(verify(&["other", SECRET], BODY, 1_729_314_984).is_ok());
        assert!(verify(&[SECRET, "other"], BODY, 1_729_314_984).is_ok());
        for wrong in ["", "whsec_tes", "test", " whsec_test", "whsec_test\n", "WHSEC_TEST"] {
            assert_eq!(verify(&[wrong], BODY, 1_729_314_984), Err(Rejection::SignatureWrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_changed_body_or_timestamp_is_rejected() {
        assert_eq!(verify(&[SECRET], b"{}", 1_729_314_984), Err(Rejection::SignatureWrong));
        let moved = headers(SIGNATURE, "1729314985").unwrap();
        let verdict = verifier(&[SECRET]).verify(&moved, Bytes::from_static(BODY), at(1_729_314_985));
        assert_eq!(verdict, Err(Rejection::SignatureWrong));
    }

    #[test]
    fn the_signature_covers_the_text_of_the_timestamp() {
        let padded = headers(SIGNATURE, "01729314984").unwrap();
        let verdict = verifier(&[SECRET]).verify(&padded, Bytes::from_static(BODY), at(1_729_314_984));
        assert_eq!(verdict, Err(Rejection::SignatureWrong));
        let signed = sign_delivery(&SecretString::from(SECRET), "01729314984", BODY);
        let own = headers(&signed, "01729314984").unwrap();
        let verdict = verifier(&[SECRET]).verify(&own, Bytes::from_static(BODY), at(1_729_314_984));
        assert!(matches!(verdict, Ok(Authentic::Fresh(_))));
    }

    #[test]
    fn the_tolerance_is_inclusive_in_both_directions() {
        for (now, fresh) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
            let verdict = verify(&[SECRET], BODY, 1_729_314_984 + now).unwrap();
            assert_eq!(matches!(verdict, Authentic::Fresh(_)), fresh, "{now} s");
        }
    }

    #[test]
    fn a_timestamp_that_is_out_of_range_is_stale() {
        for digits in ["9223372036854775807", "1729314984000", "0"] {
            let headers = headers(&sign_delivery(&SecretString::from(SECRET), digits, BODY), digits).unwrap();
            let verdict = verifier(&[SECRET]).verify(&headers, Bytes::from_static(BODY), at(1_729_314_984));
            assert!(matches!(verdict, Ok(Authentic::Stale(_))), "{digits}");
        }
    }

    #[test]
    fn missing_malformed_and_repeated_headers_are_rejected() {
        use Rejection as R;
        let good = SIGNATURE.as_bytes();
        let time = TIMESTAMP.as_bytes();
        let upper = SIGNATURE.to_uppercase();
        assert!(SignatureHeaders::parse([upper.as_bytes()], [time]).is_ok());
        assert_eq!(SignatureHeaders::parse([], [time]), Err(R::SignatureMissing));
        assert_eq!(SignatureHeaders::parse([good], []), Err(R::TimestampMissing));
        assert_eq!(SignatureHeaders::parse([good, good], [time]), Err(R::SignatureRepeated));
        assert_eq!(SignatureHeaders::parse([good], [time, time]), Err(R::TimestampRepeated));
        for signature in ["", "00", &SIGNATURE[1..], &format!("{SIGNATURE}0"), &format!("sha256={SIGNATURE}"), "zz"] {
            assert_eq!(headers(signature, TIMESTAMP), Err(R::SignatureMalformed), "{signature:?}");
        }
        for timestamp in
            ["", " 1729314984", "+1729314984", "-1", "1729314984.0", "1e9", "0x10", "１２３", "99999999999999999999"]
        {
            assert_eq!(headers(SIGNATURE, timestamp), Err(R::TimestampMalformed), "{timestamp:?}");
        }
    }

    #[test]
    fn debug_output_contains_no_secret() {
        assert!(!format!("{:?}", verifier(&[SECRET])).contains("whsec"));
    }
}
