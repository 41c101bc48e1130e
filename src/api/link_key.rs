//! Signs and verifies links to files.
//!
//! A link that needs no token contains its expiry time and an HMAC-SHA256 of the file and that time. Without the key,
//! nobody can create or change a link. The key is 32 random bytes, created once and stored in the database, so links work
//! on every replica and after restarts.

use std::fmt;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::OnceCell;
use url::form_urlencoded;

use crate::api::queries;
use crate::domain::RenderId;
use crate::runtime::{Database, DatabaseError, REQUEST_TIMEOUT};

/// The key, loaded when it is first needed.
#[derive(Debug, Default)]
pub struct LinkKeyCell(OnceCell<LinkKey>);

impl LinkKeyCell {
    /// Loads the key, or creates it if there is none yet.
    pub(super) async fn get(&self, database: &Database, now: DateTime<Utc>) -> Result<&LinkKey, DatabaseError> {
        let read = async || {
            let key = queries::link_key(database.pool(), rand::random(), now);
            database.with_timeout(REQUEST_TIMEOUT, key).await.map(LinkKey)
        };
        self.0.get_or_try_init(read).await
    }
}

/// The key that links are signed with.
pub(super) struct LinkKey(Vec<u8>);

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey")
    }
}

impl LinkKey {
    /// The query string of a link to a file.
    pub(super) fn sign(&self, id: &RenderId, index: i32, expires: DateTime<Utc>) -> String {
        let expires = expires.timestamp();
        let signature = hex::encode(self.mac(id, index, expires).finalize().into_bytes());
        format!("expires={expires}&signature={signature}")
    }

    /// Checks that a link to this file is valid and has not expired.
    pub(super) fn verify(
        &self,
        id: &RenderId,
        index: i32,
        signed: &SignedQuery,
        now: DateTime<Utc>,
    ) -> Result<(), InvalidLink> {
        let expires = signed.expires.parse().map_err(|_| InvalidLink::Forged)?;
        let signature = hex::decode(&signed.signature).map_err(|_| InvalidLink::Forged)?;
        // `verify_slice` takes constant time.
        self.mac(id, index, expires).verify_slice(&signature).map_err(|_| InvalidLink::Forged)?;
        if now.timestamp() < expires { Ok(()) } else { Err(InvalidLink::Expired) }
    }

    fn mac(&self, id: &RenderId, index: i32, expires: i64) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        // Only the id can contain arbitrary characters, and it comes last, so no two files have the same text.
        mac.update(format!("file link\n{expires}\n{index}\n{}", id.as_str()).as_bytes());
        mac
    }
}

/// The query of a link. It has no `Debug`, so that it cannot reach a log: anyone with the link can read the file.
pub(super) struct SignedQuery {
    expires: String,
    signature: String,
}

impl SignedQuery {
    /// Parses a query string; `None` if it has no signature.
    pub(super) fn parse(query: &str) -> Option<Self> {
        let value = |name| form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
        let signature = value("signature")?.1.into_owned();
        Some(Self { expires: value("expires").map(|(_, expires)| expires.into_owned()).unwrap_or_default(), signature })
    }
}

/// Why a link is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InvalidLink {
    /// It has expired.
    Expired,
    /// It was not created by this service, or was changed.
    Forged,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_only_works_for_its_own_file_and_until_it_expires() {
        let key = LinkKey(vec![1; 32]);
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let id = |text: &str| text.parse::<RenderId>().unwrap();
        let query = key.sign(&id("clx"), 0, at(1000));
        let verify = |key: &LinkKey, text: &str, index, query: &str, now| {
            key.verify(&id(text), index, &SignedQuery::parse(query).unwrap(), at(now))
        };
        assert_eq!(verify(&key, "clx", 0, &query, 999), Ok(()));
        assert_eq!(verify(&key, "clx", 0, &query, 1000), Err(InvalidLink::Expired));
        assert_eq!(verify(&key, "clx", 1, &query, 999), Err(InvalidLink::Forged));
        assert_eq!(verify(&key, "cly", 0, &query, 999), Err(InvalidLink::Forged));
        assert_eq!(verify(&LinkKey(vec![2; 32]), "clx", 0, &query, 999), Err(InvalidLink::Forged));
        let signature = query.split_once("&signature=").unwrap().1;
        for changed in [
            format!("expires=2000&signature={signature}"),
            format!("expires=&signature={signature}"),
            format!("expires=1000&signature={}", &signature[2..]),
            format!("signature={signature}"),
            "expires=1000&signature=".to_owned(),
            "expires=1000&signature=zz".to_owned(),
        ] {
            assert_eq!(verify(&key, "clx", 0, &changed, 999), Err(InvalidLink::Forged), "{changed}");
        }
        assert!(SignedQuery::parse("expires=1000").is_none());
    }
}
