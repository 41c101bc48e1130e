//! The settings: flags and environment variables, read once at startup.
//!
//! clap reads text into the `…Args` structs. Their `read` methods convert it to final values and collect all problems in
//! [`ConfigErrors`], so that they are reported together. Every secret can also come from a file (`NAME_FILE`). No secret
//! is ever shown, neither by `--help` nor in an error.

mod access;
mod cloud;
mod database;
mod dependencies;
mod downloads;
mod errors;
mod external_ids;
mod files;
mod listen;
mod notify;
mod parse;
mod secret;
mod serve;
mod shown;
mod storage;
mod traces;
mod upstream;
mod webhook_secrets;
mod webhooks;

pub use self::database::DatabaseArgs;
pub use self::dependencies::{ApiKeySetting, ApiListenSetting, Dependencies, NotifySetting};
pub use self::errors::{ConfigError, ConfigErrors, ConfigWarning};
pub use self::external_ids::ExternalIdArgs;
pub use self::files::Files;
pub use self::listen::ListenArgs;
pub use self::notify::{Notify, NotifyArgs};
pub use self::serve::{Config, ServeArgs};
pub use self::shown::{ShownSetting, shown};
pub use self::storage::StorageArgs;
pub use self::webhook_secrets::{WebhookSecretArgs, WebhookSecrets};
pub use self::webhooks::Webhooks;

/// The environment variables that are valid Unicode. No other variable is a setting, and `std::env::vars` would panic on
/// it.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
