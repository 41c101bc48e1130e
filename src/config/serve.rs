//! All settings of `serve`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, FromArgMatches, ValueEnum};
use secrecy::SecretString;
use url::Url;

use super::access::AccessArgs;
use super::database::DatabaseArgs;
use super::downloads::{DownloadArgs, Downloads};
use super::errors::{ConfigErrors, ConfigWarning};
use super::external_ids::ExternalIdArgs;
use super::files::{FileArgs, Files};
use super::listen::{ApiListenArgs, ListenArgs};
use super::notify::{Notify, NotifyArgs};
use super::parse::{SettingWithDefault, non_empty};
use super::storage::StorageArgs;
use super::traces::TraceArgs;
use super::upstream::{Upstream, UpstreamArgs};
use super::webhook_secrets::WebhookSecretArgs;
use crate::api::Access;
use crate::archive::Store;
use crate::domain::ExternalIdPattern;
use crate::http::Limits;
use crate::intake::{QueueLimits, Verifier};
use crate::notify::Client;
use crate::runtime::{DatabaseUrls, LogFormat};

const SIGNATURE_TOLERANCE: SettingWithDefault = SettingWithDefault::new("SIGNATURE_TOLERANCE", "5m");
const MAX_BODY_BYTES: SettingWithDefault = SettingWithDefault::new("MAX_BODY_BYTES", "1MiB");
const EVENT_RETENTION: SettingWithDefault = SettingWithDefault::new("EVENT_RETENTION", "30d");
const FILE_RETENTION: &str = "FILE_RETENTION";
const LOG_FORMAT: &str = "LOG_FORMAT";

const MAX_RETENTION: Duration = Duration::from_hours(100 * 366 * 24);

/// All settings of `serve`, as clap reads them.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    webhook_secret: WebhookSecretArgs,
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
    /// The maximum difference between the time of a delivery and the time of this machine
    #[arg(long, env = SIGNATURE_TOLERANCE.name, value_name = "TIME", default_value = SIGNATURE_TOLERANCE.default)]
    signature_tolerance: String,
    /// The maximum size of a delivery's body
    #[arg(long, env = MAX_BODY_BYTES.name, value_name = "SIZE", default_value = MAX_BODY_BYTES.default)]
    max_body_bytes: String,
    #[command(flatten)]
    external_ids: ExternalIdArgs,
    #[command(flatten)]
    downloads: DownloadArgs,
    #[command(flatten)]
    upstream: UpstreamArgs,
    #[command(flatten)]
    notify: NotifyArgs,
    /// How long deliveries are stored
    #[arg(long, env = EVENT_RETENTION.name, value_name = "TIME", default_value = EVENT_RETENTION.default)]
    event_retention: String,
    /// How long stored files are kept; older ones are erased, with their renders (default: forever)
    #[arg(long, env = FILE_RETENTION, value_name = "TIME")]
    file_retention: Option<String>,
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
    /// Verifies the signatures of deliveries.
    pub verifier: Verifier,
    /// The number of webhook secrets.
    pub webhook_secrets: usize,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The address for everything but the webhook, if it has one of its own.
    pub api_listen: Option<SocketAddr>,
    /// Where files are stored.
    pub store: Store,
    /// How stored files are served.
    pub files: Files,
    /// Who may use the API.
    pub access: Access,
    /// The maximum size of a delivery's body.
    pub max_body_bytes: usize,
    /// The limits of the HTTP server.
    pub http_limits: Limits,
    /// Finds external ids in names.
    pub external_ids: Option<ExternalIdPattern>,
    /// How much may wait to be recorded.
    pub queue_limits: QueueLimits,
    /// The settings for downloads.
    pub downloads: Downloads,
    /// The settings for Magic Hour's API.
    pub upstream: Upstream,
    /// The settings for notifications.
    pub notify: Notify,
    /// How long deliveries are kept.
    pub event_retention: Duration,
    /// How long stored files are kept, if not forever.
    pub file_retention: Option<Duration>,
    /// The format of the log.
    pub log_format: LogFormat,
    /// Where spans are exported.
    pub otlp_endpoint: Option<Url>,
    /// Settings that are valid but look like mistakes.
    pub warnings: Vec<ConfigWarning>,
}

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
        let secrets = self.webhook_secret.read(&mut errors);
        let tolerance = SIGNATURE_TOLERANCE.duration(&self.signature_tolerance, &mut errors);
        let listen = self.listen.read(&mut errors);
        let api_listen = self.api_listen.read(listen, &mut errors);
        let store = self.storage.read(environment, &mut errors);
        let files = self.files.read(&mut errors);
        let access = self.access.read(&mut errors);
        let max_body_bytes = MAX_BODY_BYTES.bytes(&self.max_body_bytes, &mut errors);
        let external_ids = self.external_ids.read(&mut errors);
        let downloads = self.downloads.read(&mut errors);
        let upstream = self.upstream.read(&mut errors);
        let notify = self.notify.read(&mut errors);
        let event_retention = self.event_retention(&mut errors);
        let file_retention = self.file_retention(&mut errors);
        let log_format = self.log_format(terminal, &mut errors);
        let otlp_endpoint = self.traces.read(&mut errors);
        let Some(store) = store else { return Err(errors) };
        errors.into_result(Config {
            database,
            verifier: Verifier::new(secrets.as_slice(), tolerance.unwrap_or_default()),
            webhook_secrets: secrets.as_slice().len(),
            listen,
            api_listen,
            store,
            files,
            access,
            max_body_bytes: usize::try_from(max_body_bytes).unwrap_or(usize::MAX),
            http_limits: Limits::default(),
            external_ids,
            queue_limits: QueueLimits::default(),
            downloads,
            upstream,
            notify,
            event_retention,
            file_retention,
            log_format,
            otlp_endpoint,
            warnings: secrets.warnings(),
        })
    }

    /// The dependencies whose settings are valid. [`ServeArgs::read`] reports the errors.
    pub fn dependencies(&self, environment: impl IntoIterator<Item = (String, String)>) -> Dependencies {
        Dependencies {
            database: if_valid(|errors| self.database.read(errors)),
            store: if_valid(|errors| self.storage.read(environment, errors)).flatten(),
            api_url: self.upstream.api_url(&mut ConfigErrors::default()),
            api_keys: match if_valid(|errors| self.upstream.api_keys(errors)) {
                None => ApiKeySetting::Invalid,
                Some(keys) if keys.is_empty() => ApiKeySetting::Unset,
                Some(keys) => ApiKeySetting::Set(keys),
            },
            tolerance: SIGNATURE_TOLERANCE.duration(&self.signature_tolerance, &mut ConfigErrors::default()),
            notify: match if_valid(|errors| self.notify.read(errors)) {
                None => NotifySetting::Invalid,
                Some(Notify { client: None, .. }) => NotifySetting::Unset,
                Some(Notify { client: Some(client), .. }) => NotifySetting::Set(client),
            },
        }
    }

    /// The warnings, for `check`, which shows them even if other settings are invalid.
    #[must_use]
    pub fn warnings(&self) -> Vec<ConfigWarning> {
        if_valid(|errors| self.webhook_secret.read(errors)).map(|secrets| secrets.warnings()).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn downloads(&self) -> &DownloadArgs {
        &self.downloads
    }

    fn event_retention(&self, errors: &mut ConfigErrors) -> Duration {
        let retention = EVENT_RETENTION.duration(&self.event_retention, errors);
        if retention.is_some_and(|retention| retention > MAX_RETENTION) {
            errors.add(EVENT_RETENTION.name, "must be at most 100 years");
        }
        retention.unwrap_or_default()
    }

    fn file_retention(&self, errors: &mut ConfigErrors) -> Option<Duration> {
        let text = non_empty(self.file_retention.as_deref())?;
        let retention = humantime::parse_duration(text.trim()).ok();
        let allowed = Duration::from_mins(1)..=MAX_RETENTION;
        let valid = retention.filter(|retention| allowed.contains(retention));
        if valid.is_none() {
            errors.add(FILE_RETENTION, "must be a duration such as 30d or 1h, from 1m to 100 years");
        }
        valid
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
        assert_eq!(config.max_body_bytes, 1 << 20);
        assert_eq!(config.downloads.concurrency, 8);
        assert_eq!(config.downloads.max_bytes, 20 << 30);
        assert_eq!(config.downloads.max_attempts, 20);
        assert_eq!(config.downloads.lease, Duration::from_mins(1));
        assert_eq!(config.upstream.schedule.initial_delay, Duration::from_mins(5));
        assert_eq!(config.upstream.schedule.max_interval, Duration::from_hours(1));
        assert_eq!(config.upstream.poll_interval, Duration::from_millis(200));
        assert_eq!(config.log_format, LogFormat::Json);
    }

    #[test]
    fn each_invalid_setting_is_reported_by_name_and_without_its_value() {
        let flags = [
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
        let text = read(&flags).unwrap_err().to_string();
        for name in [
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
        ] {
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
