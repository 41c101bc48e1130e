//! The settings: flags and environment variables, read once at start.
//!
//! The `…Args` are what clap reads: texts. Their `read` methods make finished values of them, and note every mistake in
//! [`ConfigErrors`], so that all of them are told at once. Every secret may come as `NAME_FILE` instead, and none of them is
//! ever shown: neither in `--help` nor in a mistake.

mod api;
mod clouds;
mod read;
mod serve;
mod shown;

use std::ffi::OsString;
use std::str::FromStr;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;

pub use self::read::{ConfigErrors, Mistake};
pub use self::serve::{Config, Dependencies, LogFormat, ServeArgs, Tokens};
pub use self::shown::{Setting, shown};

/// The variables of this process that are text. What is no text belongs to others: `std::env::vars` would panic at it.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Where Postgres is.
#[derive(Debug, Clone, Default, Args)]
pub struct DatabaseArgs {
    /// Postgres, as `postgres://user:password@host/database` (required)
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<SecretString>,
    /// A file that holds `DATABASE_URL`
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "PATH")]
    pub database_url_file: Option<OsString>,
}

impl DatabaseArgs {
    /// The connection URL; a mistake if there is none, or it is no URL of Postgres.
    pub fn read(&self, mistakes: &mut ConfigErrors) -> SecretString {
        const NAME: &str = "DATABASE_URL";
        let url = read::required(NAME, self.database_url.as_ref(), self.database_url_file.as_deref(), mistakes);
        let text = url.expose_secret();
        // OK to drop the cause: it may quote parts of the URL, which holds a password.
        if !text.is_empty() && (PgConnectOptions::from_str(text).is_err() || !text.starts_with("postgres")) {
            mistakes.note(NAME, "must be a URL such as postgres://user:password@host/database");
        }
        url
    }
}

/// What signs the webhooks.
#[derive(Debug, Clone, Default, Args)]
pub struct SecretArgs {
    /// The webhook's secret as Developer Hub shows it, or several, comma-separated (required)
    #[arg(long, env = "MAGIC_HOUR_WEBHOOK_SECRET", value_name = "SECRETS", hide_env_values = true)]
    pub magic_hour_webhook_secret: Option<SecretString>,
    /// A file that holds `MAGIC_HOUR_WEBHOOK_SECRET`
    #[arg(long, env = "MAGIC_HOUR_WEBHOOK_SECRET_FILE", value_name = "PATH")]
    pub magic_hour_webhook_secret_file: Option<OsString>,
}

impl SecretArgs {
    /// The secrets, byte for byte; a mistake if there is none or one is empty.
    pub fn read(&self, mistakes: &mut ConfigErrors) -> Vec<SecretString> {
        const NAME: &str = "MAGIC_HOUR_WEBHOOK_SECRET";
        let secret = self.magic_hour_webhook_secret.as_ref();
        let secrets = read::required(NAME, secret, self.magic_hour_webhook_secret_file.as_deref(), mistakes);
        read::secrets(NAME, &secrets, mistakes)
    }
}

/// Where this service listens.
#[derive(Debug, Clone, Default, Args)]
pub struct ListenArgs {
    /// Where to listen (default: 0.0.0.0:8080)
    #[arg(long, env = "LISTEN_ADDR", value_name = "ADDRESS:PORT")]
    pub listen_addr: Option<String>,
    /// The port to listen on, as platforms set it, where `LISTEN_ADDR` is not set
    #[arg(long, env = "PORT", value_name = "PORT")]
    pub port: Option<String>,
}

impl ListenArgs {
    /// The address.
    pub fn read(&self, mistakes: &mut ConfigErrors) -> std::net::SocketAddr {
        let everywhere = |port| std::net::SocketAddr::from(([0, 0, 0, 0], port));
        match (read::given(self.listen_addr.as_deref()), read::given(self.port.as_deref())) {
            (Some(address), _) => read::parsed("LISTEN_ADDR", address, "an address such as 0.0.0.0:8080", mistakes),
            (None, Some(port)) => read::parsed("PORT", port, "a port from 0 to 65535", mistakes).map(everywhere),
            (None, None) => None,
        }
        .unwrap_or_else(|| everywhere(8080))
    }
}
