//! The settings of `serve`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, FromArgMatches, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::api::ApiArgs;
use super::read::{self, ConfigErrors, or};
use super::{DatabaseArgs, ListenArgs, SecretArgs, clouds};
use crate::api::BearerTokens;
use crate::archive::Store;
use crate::archive::{Guard, HostSuffix};
use crate::intake::Verifier;
use crate::upstream::MagicHour;
use crate::upstream::Schedule;

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for programs.
    Json,
    /// Lines for people.
    Pretty,
}

/// Every setting of `serve`, as clap reads it.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    secret: SecretArgs,
    #[command(flatten)]
    listen: ListenArgs,
    /// Where files are kept: `s3://bucket/prefix`, `gs://…`, `az://…` or `file:///dir`, with the cloud's usual variables (required)
    #[arg(long, env = "STORAGE_URL", value_name = "URL")]
    storage_url: Option<String>,
    /// Bearer tokens of the applications that ask, comma-separated; the word none turns them off (required)
    #[arg(long, env = "API_TOKENS", value_name = "TOKENS", hide_env_values = true)]
    api_tokens: Option<SecretString>,
    /// A file that holds `API_TOKENS`
    #[arg(long, env = "API_TOKENS_FILE", value_name = "PATH")]
    api_tokens_file: Option<OsString>,
    /// How far a delivery's time may be from ours, either way
    #[arg(long, env = "SIGNATURE_TOLERANCE", value_name = "TIME", default_value = "5m")]
    signature_tolerance: String,
    /// The largest body of a delivery
    #[arg(long, env = "MAX_BODY_BYTES", value_name = "SIZE", default_value = "1MiB")]
    max_body_bytes: String,
    /// Transfers at once in this process; 0 downloads nothing
    #[arg(long, env = "DOWNLOAD_CONCURRENCY", value_name = "COUNT", default_value = "8")]
    download_concurrency: String,
    /// Host suffixes that files may come from, comma-separated (default: any public host)
    #[arg(long, env = "DOWNLOAD_ALLOWED_HOSTS", value_name = "HOSTS")]
    download_allowed_hosts: Option<String>,
    /// Allows http and private or loopback addresses: for development and tests only
    #[arg(long, env = "DOWNLOAD_ALLOW_PRIVATE", value_name = "BOOL", default_value = "false", num_args = 0..=1, default_missing_value = "true")]
    download_allow_private: String,
    /// The largest file
    #[arg(long, env = "DOWNLOAD_MAX_BYTES", value_name = "SIZE", default_value = "20GiB")]
    download_max_bytes: String,
    /// How often a download is tried before it has failed
    #[arg(long, env = "DOWNLOAD_MAX_ATTEMPTS", value_name = "COUNT", default_value = "20")]
    download_max_attempts: String,
    /// How long a worker's claim to a download lasts unless it is renewed
    #[arg(long, env = "DOWNLOAD_LEASE", value_name = "TIME", default_value = "60s")]
    download_lease: String,
    #[command(flatten)]
    api: ApiArgs,
    /// How long raw bodies of deliveries are kept
    #[arg(long, env = "EVENT_RETENTION", value_name = "TIME", default_value = "30d")]
    event_retention: String,
    /// How the log is written (default: json when not a terminal, else pretty)
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<String>,
}

/// Who may ask.
#[derive(Debug, Clone)]
pub enum Tokens {
    /// Anyone.
    Off,
    /// Who has one of these.
    Any(BearerTokens),
}

/// The settings of `serve`, finished.
#[derive(Debug, Clone)]
pub struct Config {
    /// Postgres.
    pub database_url: SecretString,
    /// What believes deliveries.
    pub verifier: Verifier,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where files are kept.
    pub store: Store,
    /// Who may ask.
    pub tokens: Tokens,
    /// The largest body of a delivery.
    pub max_body_bytes: usize,
    /// Transfers at once.
    pub download_concurrency: usize,
    /// Where files may come from.
    pub guard: Guard,
    /// The largest file.
    pub download_max_bytes: u64,
    /// Attempts a download.
    pub download_max_attempts: u32,
    /// How long a claim lasts.
    pub download_lease: Duration,
    /// Magic Hour's API, where there is a key.
    pub magic_hour: Option<MagicHour>,
    /// When a render is asked for.
    pub schedule: Schedule,
    /// The shortest time between two questions to Magic Hour.
    pub reconcile_gap: Duration,
    /// Whether projects are deleted once their files are stored.
    pub delete_after_store: bool,
    /// How long raw bodies are kept.
    pub event_retention: Duration,
    /// How the log is written.
    pub log_format: LogFormat,
}

/// What `serve` speaks with: for `check`, which also looks where some settings are wrong. `None` is what cannot be used.
#[derive(Debug, Clone)]
pub struct Dependencies {
    /// Postgres.
    pub database_url: Option<SecretString>,
    /// Where files are kept.
    pub store: Option<Store>,
    /// Where Magic Hour's API is.
    pub api_url: Option<Url>,
    /// The key for it, where one is set.
    pub api_key: Option<Option<SecretString>>,
    /// How far a delivery's time may be from ours.
    pub tolerance: Option<Duration>,
}

/// What was read without a mistake.
fn unmistaken<T>(read: impl FnOnce(&mut ConfigErrors) -> T) -> Option<T> {
    let mut mistakes = ConfigErrors::default();
    let value = read(&mut mistakes);
    mistakes.or(value).ok()
}

impl ServeArgs {
    /// Reads flags alone, as the demo and the tests have them: no variable of the environment plays a part, and the last
    /// of a repeated flag counts.
    pub fn from_flags(flags: impl IntoIterator<Item = String>) -> Result<Self, clap::Error> {
        let command = Self::augment_args(clap::Command::new("serve").no_binary_name(true).args_override_self(true));
        let matches = command.mut_args(|flag| flag.env(None)).try_get_matches_from(flags)?;
        Self::from_arg_matches(&matches)
    }

    /// Makes finished values, or tells every mistake. `environment` is where the clouds' own settings are looked up;
    /// `terminal` is whether a person reads the log.
    pub fn read(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
        terminal: bool,
    ) -> Result<Config, ConfigErrors> {
        let mut mistakes = ConfigErrors::default();
        let database_url = self.database.read(&mut mistakes);
        let secrets = self.secret.read(&mut mistakes);
        let tolerance = read::duration(TOLERANCE, or(&self.signature_tolerance, "5m"), &mut mistakes);
        let listen = self.listen.read(&mut mistakes);
        let store = self.store(environment, &mut mistakes);
        let tokens = self.tokens(&mut mistakes);
        let max_body_bytes = read::bytes("MAX_BODY_BYTES", or(&self.max_body_bytes, "1MiB"), &mut mistakes);
        let download_concurrency = count("DOWNLOAD_CONCURRENCY", or(&self.download_concurrency, "8"), 0, &mut mistakes);
        let guard = self.guard(&mut mistakes);
        let download_max_bytes =
            read::bytes("DOWNLOAD_MAX_BYTES", or(&self.download_max_bytes, "20GiB"), &mut mistakes);
        let attempts = count("DOWNLOAD_MAX_ATTEMPTS", or(&self.download_max_attempts, "20"), 1, &mut mistakes);
        let download_lease = read::duration("DOWNLOAD_LEASE", or(&self.download_lease, "60s"), &mut mistakes);
        if download_lease.is_some_and(|lease| !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&lease)) {
            mistakes.note("DOWNLOAD_LEASE", "must be from 1s to 1h: it is renewed at a third of it");
        }
        let event_retention = read::duration("EVENT_RETENTION", or(&self.event_retention, "30d"), &mut mistakes);
        if event_retention.is_some_and(|retention| retention > LONGEST_RETENTION) {
            mistakes.note("EVENT_RETENTION", "must be 100 years at most");
        }
        let api = self.api.read(&mut mistakes);
        let log_format = self.log_format(terminal, &mut mistakes);
        let Some(store) = store else { return Err(mistakes) };
        mistakes.or(Config {
            database_url,
            verifier: Verifier::new(&secrets, tolerance.unwrap_or_default()),
            listen,
            store,
            tokens,
            max_body_bytes: usize::try_from(max_body_bytes).unwrap_or(usize::MAX),
            download_concurrency,
            guard,
            download_max_bytes,
            download_max_attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            download_lease: download_lease.unwrap_or_default(),
            magic_hour: api.magic_hour,
            schedule: api.schedule,
            reconcile_gap: api.gap,
            delete_after_store: api.deletes,
            event_retention: event_retention.unwrap_or_default(),
            log_format,
        })
    }

    /// What `serve` speaks with, as far as the settings of each are right. The mistakes are for [`ServeArgs::read`] to
    /// tell.
    pub fn neighbours(&self, environment: impl IntoIterator<Item = (String, String)>) -> Dependencies {
        Dependencies {
            database_url: unmistaken(|mistakes| self.database.read(mistakes)),
            store: unmistaken(|mistakes| self.store(environment, mistakes)).flatten(),
            api_url: self.api.url(&mut ConfigErrors::default()),
            api_key: unmistaken(|mistakes| self.api.key(mistakes)),
            tolerance: read::duration(TOLERANCE, or(&self.signature_tolerance, "5m"), &mut ConfigErrors::default()),
        }
    }

    fn store(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
        mistakes: &mut ConfigErrors,
    ) -> Option<Store> {
        const NAME: &str = "STORAGE_URL";
        let Some(url) = read::given(self.storage_url.as_deref()) else {
            mistakes.note(NAME, "is required: s3://bucket/prefix, gs://…, az://… or file:///dir");
            return None;
        };
        let variables = clouds::variables(environment, mistakes);
        let url: Url = read::parsed(NAME, url, "a URL such as s3://bucket/prefix or file:///dir", mistakes)?;
        Store::at(&url, &variables).map_err(|error| mistakes.note(NAME, error.to_string())).ok()
    }

    fn tokens(&self, mistakes: &mut ConfigErrors) -> Tokens {
        const NAME: &str = "API_TOKENS";
        let tokens = read::required(NAME, self.api_tokens.as_ref(), self.api_tokens_file.as_deref(), mistakes);
        if tokens.expose_secret().trim() == "none" {
            return Tokens::Off;
        }
        let tokens = read::secrets(NAME, &tokens, mistakes);
        // OK to trim here, since a header's value never begins or ends with a blank.
        let trimmed: Vec<_> = tokens.iter().map(|token| SecretString::from(token.expose_secret().trim())).collect();
        Tokens::Any(BearerTokens::new(&trimmed))
    }

    fn guard(&self, mistakes: &mut ConfigErrors) -> Guard {
        let hosts = read::given(self.download_allowed_hosts.as_deref()).unwrap_or_default();
        let hosts: Vec<HostSuffix> = hosts
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty())
            .filter_map(|host| {
                let suffix = host.parse();
                suffix.map_err(|error| mistakes.note("DOWNLOAD_ALLOWED_HOSTS", format!("`{host}`: {error}"))).ok()
            })
            .collect();
        let private = or(&self.download_allow_private, "false");
        let private = read::parsed("DOWNLOAD_ALLOW_PRIVATE", private, "true or false", mistakes);
        Guard::new(hosts, private.unwrap_or(false))
    }

    fn log_format(&self, terminal: bool, mistakes: &mut ConfigErrors) -> LogFormat {
        let usual = if terminal { LogFormat::Pretty } else { LogFormat::Json };
        match read::given(self.log_format.as_deref()) {
            None => usual,
            Some(text) => LogFormat::from_str(text.trim(), true).unwrap_or_else(|_| {
                mistakes.note("LOG_FORMAT", "must be json or pretty");
                usual
            }),
        }
    }
}

const TOLERANCE: &str = "SIGNATURE_TOLERANCE";

const SHORTEST_LEASE: Duration = Duration::from_secs(1);
const LONGEST_LEASE: Duration = Duration::from_hours(1);
const LONGEST_RETENTION: Duration = Duration::from_hours(100 * 366 * 24);

/// More than anyone means.
const MOST: usize = 10_000;

fn count(name: &'static str, text: &str, least: usize, mistakes: &mut ConfigErrors) -> usize {
    let number = read::parsed(name, text, &format!("a whole number from {least} to {MOST}"), mistakes);
    if number.is_some_and(|number| !(least..=MOST).contains(&number)) {
        mistakes.note(name, format!("must be a whole number from {least} to {MOST}"));
    }
    number.unwrap_or(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: &[&str]) -> Result<Config, ConfigErrors> {
        ServeArgs::from_flags(flags.iter().map(|&flag| flag.to_owned())).unwrap().read([], false)
    }

    const LEAST: [&str; 4] = [
        "--database-url=postgres://h/d",
        "--magic-hour-webhook-secret=whsec_hush",
        "--storage-url=file:///tmp/x",
        "--api-tokens=token_hush",
    ];

    #[test]
    fn four_settings_are_enough_and_the_others_have_the_promised_defaults() {
        let config = read(&LEAST).unwrap();
        assert_eq!(config.listen.to_string(), "0.0.0.0:8080");
        assert_eq!(config.max_body_bytes, 1 << 20);
        assert_eq!(config.download_concurrency, 8);
        assert_eq!(config.download_max_bytes, 20 << 30);
        assert_eq!(config.download_max_attempts, 20);
        assert_eq!(config.download_lease, Duration::from_mins(1));
        assert_eq!(config.schedule.after, Duration::from_mins(5));
        assert_eq!(config.schedule.longest, Duration::from_hours(1));
        assert_eq!(config.reconcile_gap, Duration::from_millis(200));
        assert_eq!(config.log_format, LogFormat::Json);
    }

    #[test]
    fn all_mistakes_are_told_at_once_by_name_and_without_a_value() {
        let flags = [
            "--storage-url=ftp://hush",
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
        let told = read(&flags).unwrap_err().to_string();
        for name in [
            "DATABASE_URL",
            "MAGIC_HOUR_WEBHOOK_SECRET",
            "STORAGE_URL",
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
            assert!(told.contains(name), "{name} is missing in {told}");
        }
        assert!(!told.contains("hush"), "{told}");
    }

    #[test]
    fn no_secret_shows_in_debug() {
        let config = read(&LEAST).unwrap();
        assert!(!format!("{config:?}").contains("hush"), "{config:?}");
    }

    #[test]
    fn the_port_alone_works_and_the_address_wins() {
        let listen = |flags: &[&str]| read(&[&LEAST, flags].concat()).unwrap().listen.to_string();
        assert_eq!(listen(&["--port=3000"]), "0.0.0.0:3000");
        assert_eq!(listen(&["--port=3000", "--listen-addr=127.0.0.1:1"]), "127.0.0.1:1");
        assert_eq!(listen(&["--port=", "--listen-addr="]), "0.0.0.0:8080");
    }
}
