//! Verification of a delivery: who sent it, and when.
//!
//! [`Verifier::verify`] turns the two signature headers and the raw body into a [`Delivery`] that is [`Verified`], or
//! says why not. Guaranteed: only this module can make a [`Verified`] or a [`Stale`], so that bytes which nobody
//! signed cannot reach what records. Every secret is tried, and every comparison takes the same time whether it fits
//! or not, so that an answer's delay tells nothing of a secret.
//!
//! What is signed is the timestamp header's text exactly as it was sent, a `.`, and the body's raw bytes: nothing is
//! parsed, trimmed or decoded before the signature is known to fit.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// The header that carries 64 hex digits.
pub const SIGNATURE_HEADER: &str = "magic-hour-event-signature";
/// The header that carries Unix seconds.
pub const TIMESTAMP_HEADER: &str = "magic-hour-event-timestamp";

/// The signature that Magic Hour puts on `body` at `timestamp`, as lower-case hex.
///
/// `secret` is used as it stands, prefix (`whsec_…`) and all.
#[must_use]
pub fn sign(secret: &SecretString, timestamp: &str, body: &[u8]) -> String {
    hex::encode(tag(&keyed(secret), timestamp, body))
}

fn keyed(secret: &SecretString) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC takes a key of any length")
}

fn tag(key: &Hmac<Sha256>, timestamp: &str, body: &[u8]) -> [u8; 32] {
    let mut mac = key.clone();
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// The two headers of one delivery, well-formed and not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureHeaders {
    timestamp: String,
    seconds: i64,
    signature: [u8; 32],
}

impl SignatureHeaders {
    /// Reads the values of the two headers, as many of each as the request carried.
    pub fn read<'a>(
        signatures: impl IntoIterator<Item = &'a [u8]>,
        timestamps: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, Rejection> {
        let signature = only(signatures, Rejection::SignatureMissing, Rejection::SignatureRepeated)?;
        let timestamp = only(timestamps, Rejection::TimestampMissing, Rejection::TimestampRepeated)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(signature, &mut bytes).map_err(|_| Rejection::SignatureMalformed)?;
        let seconds = unix_seconds(timestamp).ok_or(Rejection::TimestampMalformed)?;
        let timestamp = String::from_utf8_lossy(timestamp).into_owned(); // OK because only ASCII digits got here
        Ok(Self { timestamp, seconds, signature: bytes })
    }
}

fn only<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
    missing: Rejection,
    repeated: Rejection,
) -> Result<&'a [u8], Rejection> {
    let mut values = values.into_iter();
    let first = values.next().ok_or(missing)?;
    values.next().map_or(Ok(first), |_| Err(repeated))
}

/// Decimal digits and nothing else: no sign, no blank, no fraction, nothing that only some parsers would take.
fn unix_seconds(text: &[u8]) -> Option<i64> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// An authentic delivery: its body, and when it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The raw bytes that were signed.
    pub body: Bytes,
    /// The signed time; `None` when the digits name no time that a calendar has.
    pub sent_at: Option<DateTime<Utc>>,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
}

impl Delivery {
    /// How long it was on its way; negative when the sender's clock is ahead of ours.
    #[must_use]
    pub fn lag(&self) -> Option<TimeDelta> {
        self.sent_at.map(|sent_at| self.received_at - sent_at)
    }

    /// The same in milliseconds, as rows and logs have it.
    #[must_use]
    pub fn lag_ms(&self) -> Option<i64> {
        self.lag().map(|lag| lag.num_milliseconds())
    }
}

/// An authentic delivery whose time is within the tolerance: its payload may be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified(Delivery);

impl Verified {
    /// The delivery.
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.0
    }
}

/// An authentic delivery outside the tolerance: perhaps a replay, so that its payload is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale(Delivery);

impl Stale {
    /// The delivery.
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.0
    }
}

/// Why a request is not taken for Magic Hour's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No signature header.
    #[error("the header magic-hour-event-signature is missing")]
    SignatureMissing,
    /// More than one signature header.
    #[error("the header magic-hour-event-signature is there more than once")]
    SignatureRepeated,
    /// The signature is not 64 hex digits.
    #[error("the header magic-hour-event-signature is not 64 hex digits")]
    SignatureMalformed,
    /// No timestamp header.
    #[error("the header magic-hour-event-timestamp is missing")]
    TimestampMissing,
    /// More than one timestamp header.
    #[error("the header magic-hour-event-timestamp is there more than once")]
    TimestampRepeated,
    /// The timestamp is not Unix seconds in digits.
    #[error("the header magic-hour-event-timestamp is not Unix seconds in decimal digits")]
    TimestampMalformed,
    /// No secret gives this signature.
    #[error("the signature fits none of the secrets: is MAGIC_HOUR_WEBHOOK_SECRET the one that Developer Hub shows?")]
    SignatureWrong,
}

impl Rejection {
    /// A stable word for logs.
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

/// Knows the secrets and the tolerance.
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
    /// Any of `secrets` may have signed; a time may lie up to `tolerance` (inclusive) before or after ours.
    #[must_use]
    pub fn new(secrets: &[SecretString], tolerance: Duration) -> Self {
        Self {
            keys: secrets.iter().map(keyed).collect(),
            tolerance: TimeDelta::from_std(tolerance).unwrap_or(TimeDelta::MAX),
        }
    }

    /// Believes `body` or says why not. `now` is our clock at arrival.
    pub fn verify(&self, seal: &SignatureHeaders, body: Bytes, now: DateTime<Utc>) -> Result<Verdict, Rejection> {
        let fits = self
            .keys
            .iter()
            .fold(Choice::from(0), |fits, key| fits | tag(key, &seal.timestamp, &body).ct_eq(&seal.signature));
        if !bool::from(fits) {
            return Err(Rejection::SignatureWrong);
        }
        let sent_at = DateTime::from_timestamp(seal.seconds, 0);
        let delivery = Delivery { body, sent_at, received_at: now };
        // Whole seconds against whole seconds: the header has no fraction, and the edge is inside either way.
        let skew = TimeDelta::try_seconds(now.timestamp().saturating_sub(seal.seconds)).unwrap_or(TimeDelta::MAX);
        Ok(if skew.abs() <= self.tolerance {
            Verdict::Fresh(Verified(delivery))
        } else {
            Verdict::Stale(Stale(delivery))
        })
    }
}

/// What an authentic delivery is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Signed within the tolerance.
    Fresh(Verified),
    /// Signed, and too long ago or too far ahead.
    Stale(Stale),
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

    fn seal(signature: &str, timestamp: &str) -> Result<SignatureHeaders, Rejection> {
        SignatureHeaders::read([signature.as_bytes()], [timestamp.as_bytes()])
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn verify(secrets: &[&str], body: &'static [u8], now: i64) -> Result<Verdict, Rejection> {
        verifier(secrets).verify(&seal(SIGNATURE, TIMESTAMP)?, Bytes::from_static(body), at(now))
    }

    #[test]
    fn the_known_vector_signs_and_verifies() {
        assert_eq!(sign(&SecretString::from(SECRET), TIMESTAMP, BODY), SIGNATURE);
        let Ok(Verdict::Fresh(verified)) = verify(&[SECRET], BODY, 1_729_314_985) else { panic!("not verified") };
        assert_eq!(verified.delivery().body, BODY);
        assert_eq!(verified.delivery().lag(), Some(TimeDelta::seconds(1)));
    }

    #[test]
    fn any_of_several_secrets_may_have_signed_and_none_is_trimmed() {
        assert!(verify(&["other", SECRET], BODY, 1_729_314_984).is_ok());
        assert!(verify(&[SECRET, "other"], BODY, 1_729_314_984).is_ok());
        for wrong in ["", "whsec_tes", "test", " whsec_test", "whsec_test\n", "WHSEC_TEST"] {
            assert_eq!(verify(&[wrong], BODY, 1_729_314_984), Err(Rejection::SignatureWrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_changed_body_or_timestamp_is_refused() {
        assert_eq!(verify(&[SECRET], b"{}", 1_729_314_984), Err(Rejection::SignatureWrong));
        let moved = seal(SIGNATURE, "1729314985").unwrap();
        let verdict = verifier(&[SECRET]).verify(&moved, Bytes::from_static(BODY), at(1_729_314_985));
        assert_eq!(verdict, Err(Rejection::SignatureWrong));
    }

    #[test]
    fn the_timestamp_is_signed_as_its_text_and_not_as_its_number() {
        let padded = seal(SIGNATURE, "01729314984").unwrap();
        let verdict = verifier(&[SECRET]).verify(&padded, Bytes::from_static(BODY), at(1_729_314_984));
        assert_eq!(verdict, Err(Rejection::SignatureWrong));
        let signed = sign(&SecretString::from(SECRET), "01729314984", BODY);
        let own = seal(&signed, "01729314984").unwrap();
        let verdict = verifier(&[SECRET]).verify(&own, Bytes::from_static(BODY), at(1_729_314_984));
        assert!(matches!(verdict, Ok(Verdict::Fresh(_))));
    }

    #[test]
    fn the_tolerance_holds_both_ways_and_its_edges_are_inside() {
        for (now, fresh) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
            let verdict = verify(&[SECRET], BODY, 1_729_314_984 + now).unwrap();
            assert_eq!(matches!(verdict, Verdict::Fresh(_)), fresh, "{now} s");
        }
    }

    #[test]
    fn a_signed_time_that_no_calendar_has_is_stale_and_not_a_panic() {
        for digits in ["9223372036854775807", "1729314984000", "0"] {
            let seal = seal(&sign(&SecretString::from(SECRET), digits, BODY), digits).unwrap();
            let verdict = verifier(&[SECRET]).verify(&seal, Bytes::from_static(BODY), at(1_729_314_984));
            assert!(matches!(verdict, Ok(Verdict::Stale(_))), "{digits}");
        }
    }

    #[test]
    fn malformed_and_repeated_headers_are_told_apart() {
        use Rejection as R;
        let good = SIGNATURE.as_bytes();
        let time = TIMESTAMP.as_bytes();
        let upper = SIGNATURE.to_uppercase();
        assert!(SignatureHeaders::read([upper.as_bytes()], [time]).is_ok());
        assert_eq!(SignatureHeaders::read([], [time]), Err(R::SignatureMissing));
        assert_eq!(SignatureHeaders::read([good], []), Err(R::TimestampMissing));
        assert_eq!(SignatureHeaders::read([good, good], [time]), Err(R::SignatureRepeated));
        assert_eq!(SignatureHeaders::read([good], [time, time]), Err(R::TimestampRepeated));
        for signature in ["", "00", &SIGNATURE[1..], &format!("{SIGNATURE}0"), &format!("sha256={SIGNATURE}"), "zz"] {
            assert_eq!(seal(signature, TIMESTAMP), Err(R::SignatureMalformed), "{signature:?}");
        }
        for timestamp in
            ["", " 1729314984", "+1729314984", "-1", "1729314984.0", "1e9", "0x10", "１２３", "99999999999999999999"]
        {
            assert_eq!(seal(SIGNATURE, timestamp), Err(R::TimestampMalformed), "{timestamp:?}");
        }
    }

    #[test]
    fn nothing_of_a_secret_shows_in_debug() {
        assert!(!format!("{:?}", verifier(&[SECRET])).contains("whsec"));
    }
}
