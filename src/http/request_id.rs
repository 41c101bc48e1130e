//! The id of a request, which is part of its answer and of each of its log lines.

use std::fmt;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header for the id, in requests and in answers.
pub(crate) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

const MAX_LENGTH: usize = 128;

/// An id that is safe to log and to send back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// A new random id.
    pub(crate) fn random() -> Self {
        let id = Uuid::new_v4().hyphenated().to_string();
        Self(HeaderValue::try_from(id).expect("a UUID is visible ASCII"))
    }

    /// The caller's id if it sent exactly one valid id: 1 to 128 ASCII letters, digits, and `-_.:=+/@`. Otherwise, a new
    /// random id.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(REQUEST_ID_HEADER).iter();
        match (values.next(), values.next()) {
            (Some(value), None) if is_valid(value.as_bytes()) => Self(value.clone()),
            _ => Self::random(),
        }
    }

    /// The value of the header.
    pub(crate) fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default()) // only visible ASCII gets here
    }
}

fn is_valid(id: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:=+/@".contains(byte);
    (1..=MAX_LENGTH).contains(&id.len()) && id.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(values: &[&str]) -> String {
        let values = values.iter().map(|value| (REQUEST_ID_HEADER, HeaderValue::from_str(value).unwrap()));
        RequestId::from_headers(&values.collect()).to_string()
    }

    #[test]
    fn a_valid_id_of_the_caller_is_kept() {
        for id in ["a", "3c1f-77", "Root=1-67891233-abcdef012345678912345678", "a/b+c@d.e_f:g", &"x".repeat(128)] {
            assert_eq!(id_of(&[id]), id);
        }
    }

    #[test]
    fn any_other_id_is_replaced_by_a_uuid() {
        for ids in [&[][..], &[""], &["a b"], &["a\"b"], &["a{b"], &["a\tb"], &[&"x".repeat(129)], &["a", "a"]] {
            let id = id_of(ids);
            assert!(Uuid::parse_str(&id).is_ok(), "{ids:?} became {id}");
        }
        assert_ne!(id_of(&[]), id_of(&[]));
    }
}
