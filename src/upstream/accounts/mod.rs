//! The accounts of Magic Hour: one for each key of `MAGIC_HOUR_API_KEY`.
//!
//! A project can only be read with a key of its own account; for any other key it does not exist. [`ProjectFinder`] asks the
//! account that is known to own a render or, if none is, one after the other.

mod finder;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use url::Url;

pub use self::finder::ProjectFinder;
pub(super) use self::finder::{NoProject, UnansweredCall};
use super::client::MagicHour;
use crate::domain::RenderId;

/// Identifies an account, whatever the order of the keys: a fingerprint of its key that reveals nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccountId(String);

impl AccountId {
    /// The number of hex digits.
    const DIGITS: usize = 16;

    /// The account that a key belongs to.
    #[must_use]
    pub fn of(key: &SecretString) -> Self {
        let digest = Sha256::new().chain_update(b"renderhook account\0").chain_update(key.expose_secret()).finalize();
        let mut digits = hex::encode(digest);
        digits.truncate(Self::DIGITS);
        Self(digits)
    }

    /// The fingerprint, as in the database.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The error for text that is not an [`AccountId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an account")]
pub struct InvalidAccountId;

impl FromStr for AccountId {
    type Err = InvalidAccountId;

    fn from_str(text: &str) -> Result<Self, InvalidAccountId> {
        let fits = text.len() == Self::DIGITS && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidAccountId) }
    }
}

/// An account, as logs name it: by the position of its key.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its fingerprint.
    pub id: AccountId,
    /// The position of its key in `MAGIC_HOUR_API_KEY`, from 1.
    pub position: usize,
    /// Calls the API with its key.
    pub client: MagicHour,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "account {}", self.position)
    }
}

/// The accounts, in the order of their keys. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Accounts(Arc<[Account]>);

impl Accounts {
    /// The accounts of these keys, at the API at `base`, which may have a path.
    pub fn new(base: &Url, keys: &[SecretString]) -> Result<Self, reqwest::Error> {
        let account = |(index, key): (usize, &SecretString)| {
            let client = MagicHour::new(base.clone(), key.clone())?;
            Ok(Account { id: AccountId::of(key), position: index + 1, client })
        };
        keys.iter().enumerate().map(account).collect::<Result<Vec<_>, _>>().map(|accounts| Self(accounts.into()))
    }

    /// Each account.
    pub fn iter(&self) -> impl Iterator<Item = &Account> {
        self.0.iter()
    }

    /// The account with this fingerprint, if its key is among the settings.
    #[must_use]
    pub fn get(&self, id: &AccountId) -> Option<&Account> {
        self.iter().find(|account| account.id == *id)
    }

    /// The accounts to ask about a render: the one that is known to own it or, if its key is gone or none is known, all.
    fn to_ask(&self, owner: Option<&AccountId>) -> Vec<&Account> {
        owner.and_then(|owner| self.get(owner)).map_or_else(|| self.iter().collect(), |owner| vec![owner])
    }
}

/// Saves which account owns a render.
pub(super) async fn save_owner(pool: &PgPool, id: &RenderId, owner: &AccountId) -> sqlx::Result<()> {
    let saved = sqlx::query!("UPDATE renders SET account = $2 WHERE id = $1", id.as_str(), owner.as_str());
    saved.execute(pool).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(keys: &[&str]) -> Accounts {
        let keys: Vec<_> = keys.iter().map(|&key| SecretString::from(key)).collect();
        Accounts::new(&Url::parse("https://api.example").unwrap(), &keys).unwrap()
    }

    #[test]
    fn an_account_is_identified_by_its_key_and_named_by_its_position() {
        let (one, other) = (accounts(&["mhk_a", "mhk_b"]), accounts(&["mhk_b", "mhk_a"]));
        let of = |accounts: &Accounts, position: usize| accounts.0[position - 1].clone();
        assert_eq!(of(&one, 1).id, of(&other, 2).id);
        assert_ne!(of(&one, 1).id, of(&one, 2).id);
        assert_eq!(of(&other, 2).to_string(), "account 2");
        let id = of(&one, 1).id;
        assert_eq!((id.as_str().len(), id.as_str().parse()), (16, Ok(id.clone())));
        assert!(!format!("{one:?}").contains("mhk_a"), "{one:?}");
        for text in ["", "0123456789abcde", "0123456789ABCDEF", "0123456789abcdef0"] {
            assert_eq!(text.parse::<AccountId>(), Err(InvalidAccountId));
        }
    }

    #[test]
    fn the_owner_is_asked_or_every_account_if_none_is_known() {
        let accounts = accounts(&["mhk_a", "mhk_b", "mhk_c"]);
        let asked = |key: Option<&str>| {
            let owner = key.map(|key| AccountId::of(&SecretString::from(key)));
            accounts.to_ask(owner.as_ref()).iter().map(|account| account.position).collect::<Vec<_>>()
        };
        assert_eq!((asked(None), asked(Some("mhk_b")), asked(Some("gone"))), (vec![1, 2, 3], vec![2], vec![1, 2, 3]));
    }
}
