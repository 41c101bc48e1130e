//! Authentication with bearer tokens.

use axum::http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::http::HttpError;

/// The valid tokens. Only their hashes are kept, and tokens are compared in constant time.
#[derive(Clone)]
pub struct BearerTokens(Vec<[u8; 32]>);

/// Who may use the API.
#[derive(Debug, Clone)]
pub enum Access {
    /// Everyone: authentication is disabled.
    Anyone,
    /// Callers with one of these tokens.
    Bearer(BearerTokens),
}

impl Access {
    /// Whether a request with these headers is authorized.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Anyone => true,
            Self::Bearer(tokens) => tokens.admit(headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes)),
        }
    }
}

impl std::fmt::Debug for BearerTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BearerTokens({})", self.0.len())
    }
}

impl BearerTokens {
    /// Accepts each of `tokens`.
    #[must_use]
    pub fn new(tokens: &[SecretString]) -> Self {
        Self(tokens.iter().map(|token| hash(token.expose_secret().as_bytes())).collect())
    }

    /// Whether the value of an `Authorization` header contains one of the tokens.
    #[must_use]
    pub fn admit(&self, authorization: Option<&[u8]>) -> bool {
        let Some((scheme, token)) = authorization.and_then(|value| value.split_at_checked(7)) else { return false };
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return false;
        }
        let hash = hash(token.trim_ascii());
        self.0.iter().fold(Choice::from(0), |matches, known| matches | known.ct_eq(&hash)).into()
    }
}

/// 401 for an unauthorized request.
pub(super) fn unauthorized() -> HttpError {
    let message = "send `Authorization: Bearer TOKEN` with one of the tokens in API_TOKENS";
    HttpError::unauthorized("Bearer", message)
}

fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_bearer_token_is_accepted() {
        let tokens = BearerTokens::new(&["one".into(), "two".into()]);
        for (header, admitted) in [
            (Some("Bearer one"), true),
            (Some("bearer two"), true),
            (Some("Bearer  one"), true),
            (Some("Bearer three"), false),
            (Some("Bearer "), false),
            (Some("Bearer"), false),
            (Some("Basic one"), false),
            (Some("one"), false),
            (Some("Bearer one,two"), false),
            (None, false),
        ] {
            assert_eq!(tokens.admit(header.map(str::as_bytes)), admitted, "{header:?}");
        }
        assert!(!BearerTokens::new(&[]).admit(Some(b"Bearer ")));
    }
}
