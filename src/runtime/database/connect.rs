//! Connecting to Postgres: with which options, and what it means when it fails.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::timeout;

use super::{BACKGROUND, Pooling};

/// How long connecting may take.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

/// How long Postgres lets a statement run: longer than anyone waits for its answer.
const STATEMENT_LIMIT: Duration = BACKGROUND.saturating_add(Duration::from_secs(2));

/// `DATABASE_URL` and `DATABASE_DIRECT_URL`.
#[derive(Debug, Clone)]
pub struct DatabaseUrls {
    /// Where statements go: Postgres, or a pooler in front of it.
    pub url: SecretString,
    /// Where sessions are kept.
    pub direct: DirectUrl,
}

/// `DATABASE_DIRECT_URL`: where a session is kept, as LISTEN needs it.
#[derive(Debug, Clone)]
pub enum DirectUrl {
    /// Not set: where statements go as well.
    Same,
    /// Somewhere else, since statements go through a pooler.
    At(SecretString),
    /// `none`: nowhere.
    Nowhere,
}

impl From<SecretString> for DatabaseUrls {
    fn from(url: SecretString) -> Self {
        Self { url, direct: DirectUrl::Same }
    }
}

/// How connections are made. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    plain: PgConnectOptions,
    /// Whether the other end takes no startup options, as poolers do not.
    is_plain: Arc<AtomicBool>,
    direct: Direct,
    /// Whether connections share sessions, as was found out.
    is_shared: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
enum Direct {
    Same,
    At(Box<PgConnectOptions>),
    Nowhere,
}

impl Connector {
    pub(super) fn new(urls: &DatabaseUrls) -> sqlx::Result<Self> {
        let plain = parse(&urls.url)?;
        let (direct, is_pooled) = match &urls.direct {
            DirectUrl::Same => (Direct::Same, false),
            DirectUrl::At(url) => (Direct::At(Box::new(parse(url)?)), true),
            DirectUrl::Nowhere => (Direct::Nowhere, true),
        };
        Ok(Self { plain, is_plain: Arc::new(is_pooled.into()), direct, is_shared: Arc::default() })
    }

    /// Connects as somebody else does.
    pub(super) fn like(options: &PgConnectOptions) -> Self {
        Self {
            plain: options.clone(),
            is_plain: Arc::new(true.into()),
            direct: Direct::Same,
            is_shared: Arc::default(),
        }
    }

    /// The options of a connection for statements.
    pub(super) fn options(&self) -> PgConnectOptions {
        if self.is_plain.load(Ordering::Relaxed) { self.plain.clone() } else { pinned(&self.plain) }
    }

    /// Connects for a statement.
    pub(super) async fn connect(&self) -> Result<PgConnection, ConnectError> {
        let first = connect(&self.options()).await;
        match first {
            // What poolers answer to startup options, among other things: it is worth a try without them.
            Err(ConnectError { cause: ConnectFailure::Protocol(_), .. }) if !self.is_plain.load(Ordering::Relaxed) => {
                let connection = connect(&self.plain).await?;
                self.is_plain.store(true, Ordering::Relaxed);
                Ok(connection)
            }
            connected => connected,
        }
    }

    /// Connects where a session is kept; where there is no such place, as for a statement.
    pub(super) async fn connect_direct(&self) -> Result<PgConnection, ConnectError> {
        match &self.direct {
            Direct::At(options) => connect(options).await,
            Direct::Same | Direct::Nowhere => self.connect().await,
        }
    }

    /// A connection that can listen; `None` where no session is kept.
    pub(super) async fn listener(&self) -> Option<sqlx::Result<PgListener>> {
        let options = match &self.direct {
            Direct::At(options) => PgConnectOptions::clone(options),
            Direct::Same if !self.is_shared.load(Ordering::Relaxed) => self.plain.clone(),
            Direct::Same | Direct::Nowhere => return None,
        };
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT).connect_lazy_with(options);
        Some(PgListener::connect_with(&pool).await)
    }

    /// Finds out whether connections share sessions, and keeps it. Returns whether sessions are needed that nothing keeps.
    pub(super) async fn find_pooler(&self) -> Result<bool, ConnectError> {
        let is_shared = Pooling::probe(self).await? == Pooling::Transactions;
        self.is_shared.store(is_shared, Ordering::Relaxed);
        Ok(is_shared && matches!(self.direct, Direct::Same))
    }

    /// An error of a connection for statements.
    pub(super) fn failed(&self, cause: ConnectFailure) -> ConnectError {
        ConnectError { place: Place::of(&self.plain), cause }
    }
}

fn parse(url: &SecretString) -> sqlx::Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url.expose_secret())?;
    // Postgres' own default prints floats exactly as well, and poolers refuse the parameter.
    Ok(options.application_name("renderhook").extra_float_digits(None).disable_statement_logging())
}

/// What the code counts on, whatever the defaults of the server, the database or the role are.
fn pinned(options: &PgConnectOptions) -> PgConnectOptions {
    let limit = format!("{}s", STATEMENT_LIMIT.as_secs());
    options.clone().options([
        ("default_transaction_isolation", "read committed"),
        // What nobody waits for any more ends, and so does a transaction whose process is gone.
        ("statement_timeout", &limit),
        ("idle_in_transaction_session_timeout", &limit),
        // The statements are short. Compiling one costs more than it saves: with many downloads due, every claim took
        // 80 ms longer.
        ("jit", "off"),
        ("tcp_keepalives_idle", "60"),
        ("tcp_keepalives_interval", "10"),
        ("tcp_keepalives_count", "3"),
    ])
}

/// Connects, and refuses a database that cannot hold every text.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, ConnectError> {
    let failed = |cause| ConnectError { place: Place::of(options), cause };
    let connected = timeout(CONNECT, async {
        let mut connection = PgConnection::connect_with(options).await?;
        let encoding = sqlx::raw_sql("SELECT current_setting('server_encoding')").fetch_one(&mut connection).await?;
        sqlx::Result::Ok((connection, sqlx::Row::try_get::<String, _>(&encoding, 0)?))
    });
    match connected.await {
        Ok(Ok((connection, encoding))) if encoding == "UTF8" => Ok(connection),
        Ok(Ok((_, encoding))) => Err(failed(ConnectFailure::Encoding(encoding))),
        Ok(Err(error)) => Err(failed(ConnectFailure::of(&error, options))),
        Err(_elapsed) => Err(failed(ConnectFailure::NoAnswer)),
    }
}

/// Where a connection leads: host and port, or a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place(String);

impl Place {
    fn of(options: &PgConnectOptions) -> Self {
        let port = options.get_port();
        match options.get_socket() {
            Some(folder) => Self(format!("{}/.s.PGSQL.{port}", folder.display())),
            None if options.get_host().starts_with('/') => Self(format!("{}/.s.PGSQL.{port}", options.get_host())),
            None => Self(format!("{}:{port}", options.get_host())),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the database cannot be used: where it was looked for, the cause, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the database at {place}: {cause}")]
pub struct ConnectError {
    place: Place,
    cause: ConnectFailure,
}

impl ConnectError {
    /// Whether it may pass by itself, as while the database is still starting.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.cause.may_pass()
    }

    /// The cause.
    #[must_use]
    pub fn cause(&self) -> &ConnectFailure {
        &self.cause
    }
}

/// Why a connection failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectFailure {
    /// Nothing listens.
    #[error("nothing listens there: start Postgres, or correct the URL")]
    Refused,
    /// The host's name has no address, or the host cannot be reached.
    #[error("the host cannot be reached ({0}): correct its name in the URL, or the network")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer within {} s: is a firewall in between, or is it overloaded?", CONNECT.as_secs())]
    NoAnswer,
    /// The connection broke.
    #[error("the connection broke ({0})")]
    Broken(String),
    /// No encrypted connection can be made.
    #[error("no TLS connection ({0}): correct sslmode in the URL, or the server's certificate")]
    Tls(String),
    /// It is starting, stopping, or has no connection left.
    #[error("it takes no connections now ({0})")]
    Busy(String),
    /// The password is wrong, or the role does not exist.
    #[error("{0}: correct role and password in the URL")]
    Credentials(String),
    /// There is no such database.
    #[error("{0}: create it, or correct its name in the URL")]
    NoDatabase(String),
    /// The role may not connect.
    #[error("{0}: grant the right to role {1}")]
    Forbidden(String, String),
    /// The server, or a pooler, does not take the connection as it is asked for.
    #[error("{0}")]
    Protocol(String),
    /// A pooler mixes up prepared statements.
    #[error(
        "a pooler in transaction mode stands there, and mixes up prepared statements: use its session mode, or PgBouncer \
         1.21 or newer with max_prepared_statements above 0, or Postgres itself"
    )]
    Pooler,
    /// The database cannot hold every text.
    #[error(
        "its encoding is {0}, which cannot hold every name: create one with ENCODING 'UTF8' (and TEMPLATE template0)"
    )]
    Encoding(String),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl ConnectFailure {
    fn of(error: &sqlx::Error, options: &PgConnectOptions) -> Self {
        match error {
            sqlx::Error::Io(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused,
                io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof => {
                    Self::Broken(error.to_string())
                }
                _ => Self::Unreachable(error.to_string()),
            },
            sqlx::Error::Tls(error) => Self::Tls(error.to_string()),
            sqlx::Error::Database(refusal) => {
                let message = refusal.message().to_owned();
                match refusal.code().as_deref().unwrap_or_default() {
                    "28P01" | "28000" => Self::Credentials(message),
                    "3D000" => Self::NoDatabase(message),
                    "42501" => Self::Forbidden(message, options.get_username().to_owned()),
                    "08P01" => Self::Protocol(message),
                    code if is_unavailable(code) => Self::Busy(message),
                    _ => Self::Other(message),
                }
            }
            sqlx::Error::Protocol(message) => Self::Broken(message.clone()),
            error => Self::Other(error.to_string()),
        }
    }

    fn may_pass(&self) -> bool {
        match self {
            // A pooler refuses everything with one code, also what passes.
            Self::Refused
            | Self::Unreachable(_)
            | Self::NoAnswer
            | Self::Broken(_)
            | Self::Busy(_)
            | Self::Protocol(_) => true,
            Self::Tls(_)
            | Self::Credentials(_)
            | Self::NoDatabase(_)
            | Self::Forbidden(..)
            | Self::Pooler
            | Self::Encoding(_)
            | Self::Other(_) => false,
        }
    }
}

/// Whether a code of Postgres says that it takes no statements now: connection exceptions, no resources, shutting down
/// or starting up, read-only after a failover.
pub(super) fn is_unavailable(code: &str) -> bool {
    ["08", "53", "57P", "25006"].iter().any(|class| code.starts_with(class))
}
