//! The settings: flags and environment variables, read once at startup.
//!
//! The `…Args` structs are what clap reads: text. Their `read` methods turn it into finished values and collect every
//! problem in [`ConfigErrors`], so that all of them are reported together. Every secret can also come as `NAME_FILE`. No
//! secret is ever shown, neither by `--help` nor in an error.

mod cloud;
mod database;
mod downloads;
mod errors;
mod files;
mod listen;
mod parse;
mod secret;
mod serve;
mod shown;
mod upstream;
mod webhook_secrets;

pub use self::database::DatabaseArgs;
pub use self::errors::{ConfigError, ConfigErrors, ConfigWarning};
pub use self::files::Files;
pub use self::listen::ListenArgs;
pub use self::serve::{Config, Dependencies, ServeArgs};
pub use self::shown::{ShownSetting, shown};
pub use self::webhook_secrets::{WebhookSecretArgs, WebhookSecrets};

/// The environment variables of this process that are valid Unicode. Others cannot be ours, and `std::env::vars` would
/// panic at them.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
