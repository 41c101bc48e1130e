//! Which token may call which route.
//!
//! Each token has the [`Role`] of the setting that lists it, each route declares its [`Need`] where it is defined, and
//! [`Role::allows`] decides.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::http::HttpError;

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `API_TOKENS`: everything.
    Full,
    /// `READ_TOKENS`: every `GET` but the metrics.
    Read,
    /// `METRICS_TOKENS`: the metrics and nothing else.
    Metrics,
}

/// What a caller of a route must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// To read renders, files, events, and deliveries.
    Read,
    /// To change something.
    Act,
    /// To read the metrics.
    Metrics,
}

impl Role {
    /// All roles, with the most powerful first.
    pub const ALL: [Self; 3] = [Self::Full, Self::Read, Self::Metrics];

    /// The name of the setting with the tokens of this role.
    #[must_use]
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Full => "API_TOKENS",
            Self::Read => "READ_TOKENS",
            Self::Metrics => "METRICS_TOKENS",
        }
    }

    /// The name of its security scheme in the `OpenAPI` document.
    pub(super) const fn scheme(self) -> &'static str {
        match self {
            Self::Full => "token",
            Self::Read => "read_token",
            Self::Metrics => "metrics_token",
        }
    }

    /// Whether a token of this role may read renders, files, events, and deliveries.
    #[must_use]
    pub const fn may_read(self) -> bool {
        self.allows(Need::Read)
    }

    /// Whether a token of this role may change something.
    #[must_use]
    pub const fn may_act(self) -> bool {
        self.allows(Need::Act)
    }

    /// Whether a token of this role may call a route.
    pub(super) const fn allows(self, need: Need) -> bool {
        match (self, need) {
            (Self::Full, Need::Read | Need::Act | Need::Metrics)
            | (Self::Read, Need::Read)
            | (Self::Metrics, Need::Metrics) => true,
            (Self::Read, Need::Act | Need::Metrics) | (Self::Metrics, Need::Read | Need::Act) => false,
        }
    }
}

impl Need {
    /// The settings whose tokens suffice, such as `API_TOKENS or READ_TOKENS`.
    fn settings(self) -> String {
        let settings: Vec<_> = Role::ALL.into_iter().filter(|role| role.allows(self)).map(Role::setting).collect();
        settings.join(" or ")
    }
}

/// Whether a request is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AccessDecision {
    Allowed,
    /// 401: the request has no valid token.
    Unauthorized,
    /// 403: its token is valid, and not for this route.
    Forbidden,
}

/// Decides about a request, given the role of its token, if it has a valid one.
const fn decide(role: Option<Role>, need: Need) -> AccessDecision {
    match role {
        None => AccessDecision::Unauthorized,
        Some(role) if role.allows(need) => AccessDecision::Allowed,
        Some(_) => AccessDecision::Forbidden,
    }
}

/// Who may use the API.
#[derive(Debug, Clone)]
pub enum Access {
    /// Everyone may do everything: authentication is disabled.
    Anyone,
    /// Callers with one of these tokens, each within its role.
    Bearer(BearerTokens),
}

impl Access {
    /// Checks that a request with these headers is allowed. Otherwise, the answer is 401 or 403.
    pub(super) fn check(&self, headers: &HeaderMap, need: Need) -> Result<(), HttpError> {
        let tokens = match self {
            Self::Anyone => return Ok(()),
            Self::Bearer(tokens) => tokens,
        };
        let role = tokens.role(headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes));
        match decide(role, need) {
            AccessDecision::Allowed => Ok(()),
            AccessDecision::Unauthorized => Err(HttpError::unauthorized(
                "Bearer",
                format!("send `Authorization: Bearer TOKEN` with one of the tokens in {}", need.settings()),
            )),
            AccessDecision::Forbidden => Err(HttpError::new(
                StatusCode::FORBIDDEN,
                format!("this token is not for this route: use one of the tokens in {}", need.settings()),
            )),
        }
    }
}

/// Identifies a token without revealing it, so that what was allowed because of a token ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenFingerprint([u8; 32]);

impl TokenFingerprint {
    /// Of the token with this hash. Not the hash itself, which is as good as the token where tokens are short.
    fn of(hash: &[u8; 32]) -> Self {
        Self(Sha256::new().chain_update(b"renderhook token fingerprint\n").chain_update(hash).finalize().into())
    }

    /// The fingerprint as it is stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The valid tokens and their roles. Only their hashes are kept, and tokens are compared in constant time.
#[derive(Clone, Default)]
pub struct BearerTokens(Vec<([u8; 32], Role)>);

impl std::fmt::Debug for BearerTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BearerTokens({})", self.0.len())
    }
}

impl BearerTokens {
    /// Accepts `token`. Returns the other role if it already has one.
    pub fn add(&mut self, role: Role, token: &SecretString) -> Result<(), Role> {
        let hash = hash(token.expose_secret().as_bytes());
        match self.role_of(&hash) {
            Some(other) if other != role => Err(other),
            Some(_) => Ok(()),
            None => {
                self.0.push((hash, role));
                Ok(())
            }
        }
    }

    /// The role and the fingerprint of a token, if it is valid.
    #[must_use]
    pub fn recognize(&self, token: &[u8]) -> Option<(Role, TokenFingerprint)> {
        let hash = hash(token);
        Some((self.role_of(&hash)?, TokenFingerprint::of(&hash)))
    }

    /// The role of the token with this fingerprint, if it is valid.
    #[must_use]
    pub fn role_of_fingerprint(&self, fingerprint: &[u8]) -> Option<Role> {
        let is_it = |hash| TokenFingerprint::of(hash).as_bytes().as_slice() == fingerprint;
        self.0.iter().find(|(hash, _)| is_it(hash)).map(|(_, role)| *role)
    }

    /// The role of the token in the value of an `Authorization` header, if it is valid.
    fn role(&self, authorization: Option<&[u8]>) -> Option<Role> {
        let (scheme, token) = authorization?.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| self.role_of(&hash(token.trim_ascii())))?
    }

    /// Compares with every token, so that the time says nothing about the position of the right one.
    fn role_of(&self, hash: &[u8; 32]) -> Option<Role> {
        let compare =
            |found, (known, role): &([u8; 32], Role)| if known.ct_eq(hash).into() { Some(*role) } else { found };
        self.0.iter().fold(None, compare)
    }
}

fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_bearer_token_is_accepted() {
        let mut tokens = BearerTokens::default();
        tokens.add(Role::Full, &"one".into()).unwrap();
        tokens.add(Role::Read, &"two".into()).unwrap();
        for (header, role) in [
            (Some("Bearer one"), Some(Role::Full)),
            (Some("bearer two"), Some(Role::Read)),
            (Some("Bearer  one"), Some(Role::Full)),
            (Some("Bearer three"), None),
            (Some("Bearer "), None),
            (Some("Bearer"), None),
            (Some("Basic one"), None),
            (Some("one"), None),
            (Some("Bearer one,two"), None),
            (None, None),
        ] {
            assert_eq!(tokens.role(header.map(str::as_bytes)), role, "{header:?}");
        }
        assert_eq!(BearerTokens::default().role(Some(b"Bearer ")), None);
    }

    #[test]
    fn a_fingerprint_identifies_its_token_and_is_not_its_hash() {
        let mut tokens = BearerTokens::default();
        tokens.add(Role::Read, &"one".into()).unwrap();
        let (role, fingerprint) = tokens.recognize(b"one").unwrap();
        assert_eq!(role, Role::Read);
        assert_eq!(tokens.role_of_fingerprint(fingerprint.as_bytes()), Some(Role::Read));
        assert_ne!(fingerprint.as_bytes(), &hash(b"one"));
        assert_eq!(tokens.recognize(b"two"), None);
        assert_eq!(tokens.role_of_fingerprint(&hash(b"one")), None);
        assert_eq!(BearerTokens::default().role_of_fingerprint(fingerprint.as_bytes()), None);
    }

    #[test]
    fn a_token_has_one_role() {
        let mut tokens = BearerTokens::default();
        assert_eq!(tokens.add(Role::Full, &"one".into()), Ok(()));
        assert_eq!(tokens.add(Role::Full, &"one".into()), Ok(()), "twice in one setting means nothing");
        assert_eq!(tokens.add(Role::Metrics, &"one".into()), Err(Role::Full));
        assert_eq!(tokens.role(Some(b"Bearer one")), Some(Role::Full));
    }

    #[test]
    fn the_role_of_a_token_decides() {
        use AccessDecision::{Allowed, Forbidden, Unauthorized};
        for (need, decisions) in [
            (Need::Read, [Allowed, Allowed, Forbidden, Unauthorized]),
            (Need::Act, [Allowed, Forbidden, Forbidden, Unauthorized]),
            (Need::Metrics, [Allowed, Forbidden, Allowed, Unauthorized]),
        ] {
            let roles = [Some(Role::Full), Some(Role::Read), Some(Role::Metrics), None];
            assert_eq!(roles.map(|role| decide(role, need)), decisions, "{need:?}");
        }
    }
}
