//! Signed URLs that expire.
//!
//! As with Magic Hour's, a URL is signed for one method, one path and one time, and works until then, under whatever name
//! the server is reached. A path can have any number of valid URLs at once.

use axum::http::Method;
use chrono::{DateTime, Utc};
use renderhook::intake::sign_delivery;
use renderhook::runtime::Clock;
use secrecy::SecretString;
use uuid::Uuid;

/// How the query of a signed URL starts.
const ALGORITHM: &str = "X-Goog-Algorithm=GOOG4-RSA-SHA256";

/// Signs URLs, and checks them.
#[derive(Debug, Clone)]
pub(in crate::standin) struct UrlSigner {
    clock: Clock,
    secret: SecretString,
}

impl UrlSigner {
    /// One with a secret of its own.
    pub(in crate::standin) fn new(clock: Clock) -> Self {
        Self { clock, secret: SecretString::from(Uuid::new_v4().simple().to_string()) }
    }

    pub(in crate::standin) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A query that allows `method` for `path` until `expires_at`.
    pub(in crate::standin) fn query(&self, method: &Method, path: &str, expires_at: DateTime<Utc>) -> String {
        let nonce = Uuid::new_v4().simple();
        let claim = format!("{ALGORITHM}&X-Goog-Credential={nonce}&X-Goog-Expires={}", expires_at.timestamp_millis());
        let signature = self.signature(&claim, method, path);
        format!("{claim}&X-Goog-Signature={signature}")
    }

    /// Whether `query` allows `method` for `path` now.
    pub(in crate::standin) fn allows(&self, method: &Method, path: &str, query: &str) -> bool {
        let Some((claim, signature)) = query.rsplit_once("&X-Goog-Signature=") else { return false };
        let expires_at = claim.rsplit_once('=').and_then(|(_, millis)| millis.parse().ok());
        let is_valid = expires_at.is_some_and(|expires_at: i64| self.clock.now().timestamp_millis() < expires_at);
        is_valid && signature == self.signature(claim, method, path)
    }

    fn signature(&self, claim: &str, method: &Method, path: &str) -> String {
        sign_delivery(&self.secret, claim, format!("{method} {path}").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_query_allows_one_method_for_one_path_until_it_expires() {
        let now = DateTime::UNIX_EPOCH;
        let signer = UrlSigner::new(Clock::from_fn(move || now));
        let query = signer.query(&Method::PUT, "a", now + TimeDelta::milliseconds(1));
        assert!(signer.allows(&Method::PUT, "a", &query));
        assert!(!signer.allows(&Method::GET, "a", &query));
        assert!(!signer.allows(&Method::PUT, "b", &query));
        assert!(!signer.allows(&Method::PUT, "a", &query.replace("Expires=1", "Expires=2")));
        assert!(!signer.allows(&Method::PUT, "a", &signer.query(&Method::PUT, "a", now)));
        assert!(!UrlSigner::new(signer.clock().clone()).allows(&Method::PUT, "a", &query), "another secret");
    }
}
