//! Connecting to Postgres.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::timeout;

use super::connect_error::{ConnectError, ConnectFailure};
use super::{BACKGROUND_TIMEOUT, CONNECT_TIMEOUT, Pooling};

/// How long Postgres lets a statement run: longer than we ever wait for its result.
const STATEMENT_TIMEOUT: Duration = BACKGROUND_TIMEOUT.saturating_add(Duration::from_secs(2));

/// `DATABASE_URL` and `DATABASE_DIRECT_URL`.
#[derive(Debug, Clone)]
pub struct DatabaseUrls {
    /// `DATABASE_URL`: Postgres, or a pooler in front of it.
    pub url: SecretString,
    /// `DATABASE_DIRECT_URL`.
    pub direct: DirectUrl,
}

/// `DATABASE_DIRECT_URL`: where a client has its own session, which LISTEN needs.
#[derive(Debug, Clone)]
pub enum DirectUrl {
    /// Not set: use `DATABASE_URL`.
    Unset,
    /// A separate URL, because `DATABASE_URL` is a pooler.
    Url(SecretString),
    /// `none`: there is no direct connection, so LISTEN is not used.
    Disabled,
}

impl From<SecretString> for DatabaseUrls {
    fn from(url: SecretString) -> Self {
        Self { url, direct: DirectUrl::Unset }
    }
}

/// Opens connections. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct DatabaseConnector {
    /// The options from `DATABASE_URL`, without startup options.
    base_options: PgConnectOptions,
    /// Whether the server rejects startup options, as poolers do.
    rejects_startup_options: Arc<AtomicBool>,
    direct: Direct,
    /// Whether a pooler in transaction mode was detected.
    has_transaction_pooler: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
enum Direct {
    Unset,
    Options(Box<PgConnectOptions>),
    Disabled,
}

impl DatabaseConnector {
    pub(super) fn new(urls: &DatabaseUrls) -> sqlx::Result<Self> {
        let base_options = parse(&urls.url)?;
        let (direct, is_pooled) = match &urls.direct {
            DirectUrl::Unset => (Direct::Unset, false),
            DirectUrl::Url(url) => (Direct::Options(Box::new(parse(url)?)), true),
            DirectUrl::Disabled => (Direct::Disabled, true),
        };
        Ok(Self {
            base_options,
            rejects_startup_options: Arc::new(is_pooled.into()),
            direct,
            has_transaction_pooler: Arc::default(),
        })
    }

    /// Connects with exactly these options.
    pub(super) fn from_options(options: &PgConnectOptions) -> Self {
        Self {
            base_options: options.clone(),
            rejects_startup_options: Arc::new(true.into()),
            direct: Direct::Unset,
            has_transaction_pooler: Arc::default(),
        }
    }

    /// The options of a connection for statements.
    pub(super) fn options(&self) -> PgConnectOptions {
        if self.rejects_startup_options.load(Ordering::Relaxed) {
            self.base_options.clone()
        } else {
            with_startup_options(&self.base_options)
        }
    }

    /// Opens a connection for statements.
    pub(super) async fn connect(&self) -> Result<PgConnection, ConnectError> {
        let error = match connect(&self.options()).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        let may_be_startup_options = matches!(error.cause(), ConnectFailure::Protocol(_));
        if !may_be_startup_options || self.rejects_startup_options.load(Ordering::Relaxed) {
            return Err(error);
        }
        let connection = connect(&self.base_options).await?;
        self.rejects_startup_options.store(true, Ordering::Relaxed);
        Ok(connection)
    }

    /// Opens a direct connection if one is configured, and otherwise a connection for statements.
    pub(super) async fn connect_direct(&self) -> Result<PgConnection, ConnectError> {
        match &self.direct {
            Direct::Options(options) => connect(options).await,
            Direct::Unset | Direct::Disabled => self.connect().await,
        }
    }

    /// Opens a connection for LISTEN; `None` if there is only a pooler in transaction mode.
    pub(super) async fn listener(&self) -> Option<sqlx::Result<PgListener>> {
        let options = match &self.direct {
            Direct::Options(options) => PgConnectOptions::clone(options),
            Direct::Unset if !self.has_transaction_pooler.load(Ordering::Relaxed) => self.base_options.clone(),
            Direct::Unset | Direct::Disabled => return None,
        };
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_TIMEOUT).connect_lazy_with(options);
        Some(PgListener::connect_with(&pool).await)
    }

    /// Detects a pooler in transaction mode and remembers the result. Returns whether `DATABASE_DIRECT_URL` should be set.
    pub(super) async fn detect_pooler(&self) -> Result<bool, ConnectError> {
        let has_transaction_pooler = Pooling::detect(self).await? == Pooling::Transaction;
        self.has_transaction_pooler.store(has_transaction_pooler, Ordering::Relaxed);
        Ok(has_transaction_pooler && matches!(self.direct, Direct::Unset))
    }

    /// The error of a connection for statements.
    pub(super) fn error(&self, cause: ConnectFailure) -> ConnectError {
        ConnectError::new(&self.base_options, cause)
    }
}

fn parse(url: &SecretString) -> sqlx::Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url.expose_secret())?;
    // Postgres prints floats exactly by default, and poolers reject this parameter.
    Ok(options.application_name("renderhook").extra_float_digits(None).disable_statement_logging())
}

/// Adds the session settings that the code relies on, whatever the defaults of the server, the database, or the role.
fn with_startup_options(options: &PgConnectOptions) -> PgConnectOptions {
    let limit = format!("{}s", STATEMENT_TIMEOUT.as_secs());
    options.clone().options([
        ("default_transaction_isolation", "read committed"),
        // End statements that we no longer wait for, and transactions of processes that are gone.
        ("statement_timeout", &limit),
        ("idle_in_transaction_session_timeout", &limit),
        // The statements are short, so compiling them costs more than it saves: with many downloads due, every claim took
        // 80 ms longer.
        ("jit", "off"),
        ("tcp_keepalives_idle", "60"),
        ("tcp_keepalives_interval", "10"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "30s"),
    ])
}

/// Connects, and rejects a database whose encoding is not UTF-8.
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, ConnectError> {
    let failed = |cause| ConnectError::new(options, cause);
    let connected = timeout(CONNECT_TIMEOUT, async {
        let mut connection = PgConnection::connect_with(options).await?;
        let encoding = sqlx::raw_sql("SELECT current_setting('server_encoding')").fetch_one(&mut connection).await?;
        sqlx::Result::Ok((connection, sqlx::Row::try_get::<String, _>(&encoding, 0)?))
    });
    match connected.await {
        Ok(Ok((connection, encoding))) if encoding == "UTF8" => Ok(connection),
        Ok(Ok((_, encoding))) => Err(failed(ConnectFailure::Encoding(encoding))),
        Ok(Err(error)) => Err(failed(ConnectFailure::new(&error, options))),
        Err(_elapsed) => Err(failed(ConnectFailure::NoAnswer)),
    }
}
