//! All settings of `serve`.

use std::net::SocketAddr;

use clap::{Args, FromArgMatches, ValueEnum};
use url::Url;

use super::access::AccessArgs;
use super::database::DatabaseArgs;
use super::dependencies::{ApiKeySetting, ApiListenSetting, Dependencies, NotifySetting};
use super::downloads::{DownloadArgs, Downloads};
use super::errors::{ConfigErrors, ConfigWarning};
use super::files::{FileArgs, Files};
use super::listen::{ANY_PORT, ApiListenArgs, ListenArgs};
use super::notify::{Notify, NotifyArgs};
use super::parse::non_empty;
use super::storage::StorageArgs;
use super::traces::TraceArgs;
use super::upstream::{Upstream, UpstreamArgs};
use super::webhooks::{WebhookArgs, Webhooks};
use crate::api::Access;
use crate::archive::Store;
use crate::http::Limits;
use crate::runtime::{DatabaseUrls, LogFormat};

const LOG_FORMAT: &str = "LOG_FORMAT";

/// All settings of `serve`, as clap reads them.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    webhooks: WebhookArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    api_listen: ApiListenArgs,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    downloads: DownloadArgs,
    #[command(flatten)]
    upstream: UpstreamArgs,
    #[command(flatten)]
    notify: NotifyArgs,
    /// The format of the log (default: pretty on a terminal, otherwise json)
    #[arg(long, env = LOG_FORMAT, value_name = "FORMAT")]
    log_format: Option<String>,
    #[command(flatten)]
    traces: TraceArgs,
}

/// All settings of `serve`, parsed.
#[derive(Debug, Clone)]
pub struct Config {
    /// Postgres.
    pub database: DatabaseUrls,
    /// The settings for webhooks.
    pub webhooks: Webhooks,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The address for everything but the webhook, if it has one of its own.
    pub api_listen: Option<SocketAddr>,
    /// Where files are stored.
    pub store: Store,
    /// How stored files are served, and how long they are kept.
    pub files: Files,
    /// Who may use the API.
    pub access: Access,
    /// The limits of the HTTP server.
    pub http_limits: Limits,
    /// The settings for downloads.
    pub downloads: Downloads,
    /// The settings for Magic Hour's API.
    pub upstream: Upstream,
    /// The settings for notifications.
    pub notify: Notify,
    /// The format of the log.
    pub log_format: LogFormat,
    /// Where spans are exported.
    pub otlp_endpoint: Option<Url>,
    /// Settings that are valid but look like mistakes.
    pub warnings: Vec<ConfigWarning>,
}

/// The result of `read` if it finds no error.
fn if_valid<T>(read: impl FnOnce(&mut ConfigErrors) -> T) -> Option<T> {
    let mut errors = ConfigErrors::default();
    let value = read(&mut errors);
    errors.into_result(value).ok()
}

impl ServeArgs {
    /// Parses flags, for the demo and the tests. Environment variables are ignored, and the last of a repeated flag counts.
    pub fn from_flags(flags: impl IntoIterator<Item = String>) -> Result<Self, clap::Error> {
        let command = Self::augment_args(clap::Command::new("serve").no_binary_name(true).args_override_self(true));
        let matches = command.mut_args(|flag| flag.env(None)).try_get_matches_from(flags)?;
        Self::from_arg_matches(&matches)
    }

    /// Parses all settings, or returns all errors. `environment` has the cloud providers' variables; `terminal` is whether
    /// stdout is a terminal.
    pub fn read(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
        terminal: bool,
    ) -> Result<Config, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let database = self.database.read(&mut errors);
        let webhooks = self.webhooks.read(&mut errors);
        let listen = self.listen.read(&mut errors);
        let api_listen = self.api_listen.read(listen, &mut errors);
        let store = self.storage.read(environment, &mut errors);
        let files = self.files.read(&mut errors);
        let access = self.access.read(&mut errors);
        let downloads = self.downloads.read(&mut errors);
        let upstream = self.upstream.read(&mut errors);
        let notify = self.notify.read(&mut errors);
        let log_format = self.log_format(terminal, &mut errors);
        let otlp_endpoint = self.traces.read(&mut errors);
        let Some(store) = store else { return Err(errors) };
        errors.into_result(Config {
            database,
            webhooks,
            listen,
            api_listen,
            store,
            files,
            access,
            http_limits: Limits::default(),
            downloads,
            upstream,
            notify,
            log_format,
            otlp_endpoint,
            warnings: self.warnings(),
        })
    }

    /// The dependencies whose settings are valid. [`ServeArgs::read`] reports the errors.
    pub fn dependencies(&self, environment: impl IntoIterator<Item = (String, String)>) -> Dependencies {
        let listen = if_valid(|errors| self.listen.read(errors));
        Dependencies {
            database: if_valid(|errors| self.database.read(errors)),
            store: if_valid(|errors| self.storage.read(environment, errors)).flatten(),
            api_url: self.upstream.api_url(&mut ConfigErrors::default()),
            api_keys: match if_valid(|errors| self.upstream.api_keys(errors)) {
                None => ApiKeySetting::Invalid,
                Some(keys) if keys.is_empty() => ApiKeySetting::Unset,
                Some(keys) => ApiKeySetting::Set(keys),
            },
            tolerance: self.webhooks.tolerance(&mut ConfigErrors::default()),
            notify: match if_valid(|errors| self.notify.read(errors)) {
                None => NotifySetting::Invalid,
                Some(Notify { client: None, .. }) => NotifySetting::Unset,
                Some(Notify { client: Some(client), .. }) => NotifySetting::Set(client),
            },
            listen,
            api_listen: match if_valid(|errors| self.api_listen.read(listen.unwrap_or(ANY_PORT), errors)) {
                None => ApiListenSetting::Invalid,
                Some(None) => ApiListenSetting::Unset,
                Some(Some(address)) => ApiListenSetting::Set(address),
            },
        }
    }

    /// The warnings, for `check`, which shows them even if other settings are invalid.
    #[must_use]
    pub fn warnings(&self) -> Vec<ConfigWarning> {
        self.webhooks.warnings()
    }

    #[cfg(test)]
    pub(super) fn downloads(&self) -> &DownloadArgs {
        &self.downloads
    }

    fn log_format(&self, terminal: bool, errors: &mut ConfigErrors) -> LogFormat {
        let default = if terminal { LogFormat::Pretty } else { LogFormat::Json };
        match non_empty(self.log_format.as_deref()) {
            None => default,
            Some(text) => LogFormat::from_str(text.trim(), true).unwrap_or_else(|_| {
                errors.add(LOG_FORMAT, "must be json or pretty");
                default
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::ServeFiles;

    fn read(flags: &[&str]) -> Result<Config, ConfigErrors> {
        ServeArgs::from_flags(flags.iter().map(|&flag| flag.to_owned())).unwrap().read([], false)
    }

    const REQUIRED: [&str; 4] = [
        "--database-url=postgres://h/d",
        "--magic-hour-webhook-secret=whsec_hush",
        "--storage-url=file:///tmp/x",
        "--api-tokens=token_hush",
    ];

    #[test]
    fn four_settings_are_enough_and_the_others_have_their_documented_defaults() {
        let config = read(&REQUIRED).unwrap();
        assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
        assert_eq!(config.files.serve, ServeFiles::Redirect);
        assert!(!config.files.ui_enabled);
        assert_eq!(config.webhooks.max_body_bytes, 1 << 20);
        assert_eq!(config.downloads.concurrency, 8);
        assert_eq!(config.downloads.max_bytes, 20 << 30);
        assert_eq!(config.downloads.max_attempts, 20);
        assert_eq!(config.downloads.lease, Duration::from_mins(1));
        assert_eq!(config.upstream.schedule.initial_delay, Duration::from_mins(5));
        assert_eq!(config.upstream.schedule.max_interval, Duration::from_hours(1));
        assert_eq!(config.upstream.poll_interval, Duration::from_millis(200));
        assert_eq!(config.log_format, LogFormat::Json);
    }

    /// Invalid values, which must not be shown.
    const INVALID_FLAGS: [&str; 19] = [
        "--storage-url=ftp://hush",
        "--serve-files=hush",
        "--public-url=ftp://hush",
        "--ui-enabled=hush",
        "--api-tokens=a,,hush",
        "--signature-tolerance=hush",
        "--max-body-bytes=hush",
        "--external-id-pattern=hush",
        "--file-retention=hush",
        "--listen-addr=hush",
        "--download-concurrency=-1",
        "--download-max-attempts=0",
        "--download-lease=1ms",
        "--download-allow-private=hush",
        "--reconcile-after=hush",
        "--reconcile-max-interval=1ms",
        "--reconcile-rate=0",
        "--log-format=hush",
        "--otel-exporter-otlp-endpoint=ftp://hush",
    ];
    /// The names of these settings, and of the required ones that are missing.
    const INVALID_NAMES: [&str; 21] = [
        "DATABASE_URL",
        "MAGIC_HOUR_WEBHOOK_SECRET",
        "STORAGE_URL",
        "SERVE_FILES",
        "PUBLIC_URL",
        "UI_ENABLED",
        "API_TOKENS",
        "SIGNATURE_TOLERANCE",
        "MAX_BODY_BYTES",
        "EXTERNAL_ID_PATTERN",
        "FILE_RETENTION",
        "LISTEN_ADDR",
        "DOWNLOAD_CONCURRENCY",
        "DOWNLOAD_MAX_ATTEMPTS",
        "DOWNLOAD_LEASE",
        "DOWNLOAD_ALLOW_PRIVATE",
        "RECONCILE_AFTER",
        "RECONCILE_MAX_INTERVAL",
        "RECONCILE_RATE",
        "LOG_FORMAT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ];

    #[test]
    fn each_invalid_setting_is_reported_by_name_and_without_its_value() {
        let text = read(&INVALID_FLAGS).unwrap_err().to_string();
        for name in INVALID_NAMES {
            assert!(text.contains(name), "{name} is missing in {text}");
        }
        assert!(!text.contains("hush"), "{text}");
    }

    #[test]
    fn no_secret_shows_in_debug() {
        let config = read(&REQUIRED).unwrap();
        assert!(!format!("{config:?}").contains("hush"), "{config:?}");
    }

    #[test]
    fn credentials_in_a_url_are_rejected_and_not_shown() {
        for flag in [
            "--storage-url=s3://hush:hush@bucket/prefix",
            "--storage-url=s3://bucket/prefix?token=hush",
            "--magic-hour-api-url=https://:hush@api.magichour.ai",
            "--magic-hour-api-url=https://api.magichour.ai/?key=hush",
        ] {
            let text = read(&[&REQUIRED, [flag].as_slice()].concat()).unwrap_err().to_string();
            assert!(text.contains("_URL: must") && !text.contains("hush"), "{flag}: {text}");
        }
    }
}
