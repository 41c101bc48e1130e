//! Every setting of `serve`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, FromArgMatches, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::cloud;
use super::database::DatabaseArgs;
use super::downloads::{DownloadArgs, Downloads};
use super::errors::{ConfigErrors, ConfigWarning};
use super::files::{FileArgs, Files};
use super::listen::ListenArgs;
use super::parse::{Defaulted, given, parse};
use super::secret::{self, SecretSource};
use super::upstream::{Upstream, UpstreamArgs};
use super::webhook_secrets::WebhookSecretArgs;
use crate::api::{Access, BearerTokens};
use crate::archive::Store;
use crate::http::Limits;
use crate::intake::Verifier;
use crate::runtime::{DatabaseUrls, LogFormat};

const STORAGE_URL: &str = "STORAGE_URL";
const API_TOKENS: &str = "API_TOKENS";
const SIGNATURE_TOLERANCE: Defaulted = Defaulted::new("SIGNATURE_TOLERANCE", "5m");
const MAX_BODY_BYTES: Defaulted = Defaulted::new("MAX_BODY_BYTES", "1MiB");
const EVENT_RETENTION: Defaulted = Defaulted::new("EVENT_RETENTION", "30d");
const LOG_FORMAT: &str = "LOG_FORMAT";

const LONGEST_RETENTION: Duration = Duration::from_hours(100 * 366 * 24);

/// Every setting of `serve`, as clap reads it.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    webhook_secret: WebhookSecretArgs,
    #[command(flatten)]
    listen: ListenArgs,
    /// Where files are stored: `s3://bucket/prefix`, `gs://…`, `az://…` or `file:///dir`, with the provider's usual variables (required)
    #[arg(long, env = STORAGE_URL, value_name = "URL", hide_env_values = true)]
    storage_url: Option<String>,
    #[command(flatten)]
    files: FileArgs,
    /// Bearer tokens of the applications, comma-separated; the word none disables authentication (required)
    #[arg(long, env = API_TOKENS, value_name = "TOKENS", hide_env_values = true)]
    api_tokens: Option<SecretString>,
    /// A file that holds `API_TOKENS`
    #[arg(long, env = "API_TOKENS_FILE", value_name = "PATH")]
    api_tokens_file: Option<OsString>,
    /// How far the time of a delivery may be from ours, either way
    #[arg(long, env = SIGNATURE_TOLERANCE.name, value_name = "TIME", default_value = SIGNATURE_TOLERANCE.default)]
    signature_tolerance: String,
    /// The largest body of a delivery
    #[arg(long, env = MAX_BODY_BYTES.name, value_name = "SIZE", default_value = MAX_BODY_BYTES.default)]
    max_body_bytes: String,
    #[command(flatten)]
    downloads: DownloadArgs,
    #[command(flatten)]
    upstream: UpstreamArgs,
    /// How long deliveries are kept
    #[arg(long, env = EVENT_RETENTION.name, value_name = "TIME", default_value = EVENT_RETENTION.default)]
    event_retention: String,
    /// How the log is written (default: json unless on a terminal, then pretty)
    #[arg(long, env = LOG_FORMAT, value_name = "FORMAT")]
    log_format: Option<String>,
}

/// The settings of `serve` as finished values.
#[derive(Debug, Clone)]
pub struct Config {
    /// Postgres.
    pub database: DatabaseUrls,
    /// Verifies deliveries.
    pub verifier: Verifier,
    /// How many webhook secrets there are.
    pub webhook_secrets: usize,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where files are stored.
    pub store: Store,
    /// How they are served.
    pub files: Files,
    /// Who may call the API.
    pub access: Access,
    /// The largest body of a delivery.
    pub max_body_bytes: usize,
    /// The limits of the HTTP server.
    pub http_limits: Limits,
    /// The downloader.
    pub downloads: Downloads,
    /// Magic Hour's API.
    pub upstream: Upstream,
    /// How long deliveries are kept.
    pub event_retention: Duration,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What works but looks wrong.
    pub warnings: Vec<ConfigWarning>,
}

/// What the service depends on, for `check`, which also looks at it if other settings are invalid. `None` is what cannot
/// be used.
#[derive(Debug, Clone)]
pub struct Dependencies {
    /// Postgres.
    pub database: Option<DatabaseUrls>,
    /// Where files are stored.
    pub store: Option<Store>,
    /// Where Magic Hour's API is.
    pub api_url: Option<Url>,
    /// The key for it, if one is set.
    pub api_key: Option<Option<SecretString>>,
    /// How far the time of a delivery may be from ours.
    pub tolerance: Option<Duration>,
}

/// What `read` returns if it finds no error.
fn valid<T>(read: impl FnOnce(&mut ConfigErrors) -> T) -> Option<T> {
    let mut errors = ConfigErrors::default();
    let value = read(&mut errors);
    errors.or(value).ok()
}

impl ServeArgs {
    /// Reads flags alone, for the demo and the tests: environment variables are ignored, and the last of a repeated flag
    /// counts.
    pub fn from_flags(flags: impl IntoIterator<Item = String>) -> Result<Self, clap::Error> {
        let command = Self::augment_args(clap::Command::new("serve").no_binary_name(true).args_override_self(true));
        let matches = command.mut_args(|flag| flag.env(None)).try_get_matches_from(flags)?;
        Self::from_arg_matches(&matches)
    }

    /// Makes finished values, or reports every error. `environment` is where the cloud providers' own settings are
    /// looked up; `terminal` is whether a person reads the log.
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
        let store = self.store(environment, &mut errors);
        let files = self.files.read(&mut errors);
        let access = self.access(&mut errors);
        let max_body_bytes = MAX_BODY_BYTES.bytes(&self.max_body_bytes, &mut errors);
        let downloads = self.downloads.read(&mut errors);
        let upstream = self.upstream.read(&mut errors);
        let event_retention = self.event_retention(&mut errors);
        let log_format = self.log_format(terminal, &mut errors);
        let Some(store) = store else { return Err(errors) };
        errors.or(Config {
            database,
            verifier: Verifier::new(secrets.as_slice(), tolerance.unwrap_or_default()),
            webhook_secrets: secrets.as_slice().len(),
            listen,
            store,
            files,
            access,
            max_body_bytes: usize::try_from(max_body_bytes).unwrap_or(usize::MAX),
            http_limits: Limits::default(),
            downloads,
            upstream,
            event_retention,
            log_format,
            warnings: secrets.warnings(),
        })
    }

    /// What the service depends on, as far as the settings are valid. [`ServeArgs::read`] reports the errors.
    pub fn dependencies(&self, environment: impl IntoIterator<Item = (String, String)>) -> Dependencies {
        Dependencies {
            database: valid(|errors| self.database.read(errors)),
            store: valid(|errors| self.store(environment, errors)).flatten(),
            api_url: self.upstream.api_url(&mut ConfigErrors::default()),
            api_key: valid(|errors| self.upstream.api_key(errors)),
            tolerance: SIGNATURE_TOLERANCE.duration(&self.signature_tolerance, &mut ConfigErrors::default()),
        }
    }

    /// What works but looks wrong. For `check`, which shows it if other settings are invalid, too.
    #[must_use]
    pub fn warnings(&self) -> Vec<ConfigWarning> {
        valid(|errors| self.webhook_secret.read(errors)).map(|secrets| secrets.warnings()).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn downloads(&self) -> &DownloadArgs {
        &self.downloads
    }

    fn store(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
        errors: &mut ConfigErrors,
    ) -> Option<Store> {
        let Some(url) = given(self.storage_url.as_deref()) else {
            errors.add(STORAGE_URL, "is required: s3://bucket/prefix, gs://…, az://… or file:///dir");
            return None;
        };
        let variables = cloud::variables(environment, errors);
        let url: Url = parse(STORAGE_URL, url, "a URL such as s3://bucket/prefix or file:///dir", errors)?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            errors.add(
                STORAGE_URL,
                "must not have a user, a password or a query: credentials are set by variables such as AWS_ACCESS_KEY_ID",
            );
            return None;
        }
        Store::at(&url, &variables).map_err(|error| errors.add(STORAGE_URL, error.to_string())).ok()
    }

    fn access(&self, errors: &mut ConfigErrors) -> Access {
        let source = SecretSource::new(API_TOKENS, self.api_tokens.as_ref(), self.api_tokens_file.as_deref());
        let tokens = source.required(errors);
        if tokens.expose_secret().trim() == "none" {
            return Access::Anyone;
        }
        let tokens = secret::split(API_TOKENS, &tokens, errors);
        // Safe to trim: the value of a header never begins or ends with a blank.
        let trimmed: Vec<_> = tokens.iter().map(|token| SecretString::from(token.expose_secret().trim())).collect();
        Access::Bearer(BearerTokens::new(&trimmed))
    }

    fn event_retention(&self, errors: &mut ConfigErrors) -> Duration {
        let retention = EVENT_RETENTION.duration(&self.event_retention, errors);
        if retention.is_some_and(|retention| retention > LONGEST_RETENTION) {
            errors.add(EVENT_RETENTION.name, "must be 100 years at most");
        }
        retention.unwrap_or_default()
    }

    fn log_format(&self, terminal: bool, errors: &mut ConfigErrors) -> LogFormat {
        let usual = if terminal { LogFormat::Pretty } else { LogFormat::Json };
        match given(self.log_format.as_deref()) {
            None => usual,
            Some(text) => LogFormat::from_str(text.trim(), true).unwrap_or_else(|_| {
                errors.add(LOG_FORMAT, "must be json or pretty");
                usual
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
        assert_eq!(config.max_body_bytes, 1 << 20);
        assert_eq!(config.downloads.concurrency, 8);
        assert_eq!(config.downloads.max_bytes, 20 << 30);
        assert_eq!(config.downloads.max_attempts, 20);
        assert_eq!(config.downloads.lease, Duration::from_mins(1));
        assert_eq!(config.upstream.schedule.after, Duration::from_mins(5));
        assert_eq!(config.upstream.schedule.longest, Duration::from_hours(1));
        assert_eq!(config.upstream.poll_interval, Duration::from_millis(200));
        assert_eq!(config.log_format, LogFormat::Json);
    }

    #[test]
    fn every_invalid_setting_is_reported_by_name_and_without_its_value() {
        let flags = [
            "--storage-url=ftp://hush",
            "--serve-files=hush",
            "--public-url=ftp://hush",
            "--api-tokens=a,,hush",
            "--signature-tolerance=hush",
            "--max-body-bytes=hush",
            "--listen-addr=hush",
            "--download-concurrency=-1",
            "--download-max-attempts=0",
            "--download-lease=1ms",
            "--download-allow-private=hush",
            "--reconcile-after=hush",
            "--reconcile-max-interval=1ms",
            "--reconcile-rate=0",
            "--log-format=hush",
        ];
        let text = read(&flags).unwrap_err().to_string();
        for name in [
            "DATABASE_URL",
            "MAGIC_HOUR_WEBHOOK_SECRET",
            "STORAGE_URL",
            "SERVE_FILES",
            "PUBLIC_URL",
            "API_TOKENS",
            "SIGNATURE_TOLERANCE",
            "MAX_BODY_BYTES",
            "LISTEN_ADDR",
            "DOWNLOAD_CONCURRENCY",
            "DOWNLOAD_MAX_ATTEMPTS",
            "DOWNLOAD_LEASE",
            "DOWNLOAD_ALLOW_PRIVATE",
            "RECONCILE_AFTER",
            "RECONCILE_MAX_INTERVAL",
            "RECONCILE_RATE",
            "LOG_FORMAT",
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
    fn credentials_in_a_url_are_refused_and_not_shown() {
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
