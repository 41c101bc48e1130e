//! What the service depends on, for `check`.

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::archive::Store;
use crate::notify::Client;
use crate::runtime::DatabaseUrls;

/// The dependencies of the service, for `check`, which tests each one even if settings of others are invalid. `None` means
/// that a setting of that dependency is invalid.
#[derive(Debug, Clone)]
pub struct Dependencies {
    /// Postgres.
    pub database: Option<DatabaseUrls>,
    /// Where files are stored.
    pub store: Option<Store>,
    /// The URL of Magic Hour's API.
    pub api_url: Option<Url>,
    /// The keys of Magic Hour's API.
    pub api_keys: ApiKeySetting,
    /// `SIGNATURE_TOLERANCE`.
    pub tolerance: Option<Duration>,
    /// Where notifications are posted.
    pub notify: NotifySetting,
    /// `LISTEN_ADDR` or `PORT`.
    pub listen: Option<SocketAddr>,
    /// The second address.
    pub api_listen: ApiListenSetting,
}

/// `API_LISTEN_ADDR`, for `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiListenSetting {
    /// The setting is invalid.
    Invalid,
    /// There is no second address.
    Unset,
    /// There is one.
    Set(SocketAddr),
}

/// `NOTIFY_URL` and what belongs to it, for `check`.
#[derive(Debug, Clone)]
pub enum NotifySetting {
    /// A setting is invalid.
    Invalid,
    /// No URL is set.
    Unset,
    /// A URL is set.
    Set(Client),
}

/// `MAGIC_HOUR_API_KEY`, for `check`.
#[derive(Debug, Clone)]
pub enum ApiKeySetting {
    /// The setting is invalid.
    Invalid,
    /// No key is set.
    Unset,
    /// One or several keys are set.
    Set(Vec<SecretString>),
}
