//! The database: its connections, its migrations, and whether it answers.
//!
//! Every statement of the service runs inside [`Database::within`], which gives it a deadline and notices when the
//! database goes and comes back: one line of the log each, however many statements failed between them.

use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use tracing::{error, info};

use crate::runtime::log::LogEvent;

/// The schema, compiled in.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// How long a statement of a request may take, connecting included.
pub const REQUEST: Duration = Duration::from_secs(3);

/// How long the work behind the scenes may wait for a statement.
pub const BACKGROUND: Duration = Duration::from_secs(10);

/// What is seen of a database without changing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Its version, such as `18.1`.
    pub version: String,
    /// Whether it takes no writes, such as a standby.
    pub read_only: bool,
    /// How many of this program's migrations are not applied.
    pub missing: usize,
    /// How many are applied that this program does not have, has otherwise, or that broke off: it would not start.
    pub foreign: usize,
}

/// Looks at the database at `url`, on a connection of its own.
pub async fn inspect(url: &SecretString) -> sqlx::Result<Inspection> {
    let mut connection = PgConnection::connect_with(&options(url)?).await?;
    let server = sqlx::query!(
        r#"SELECT current_setting('server_version') AS "version!",
               current_setting('transaction_read_only')::boolean AS "read_only!""#
    );
    let server = server.fetch_one(&mut connection).await?;
    // Not checked at build time, because the table is sqlx's own.
    let applied = sqlx::query_as::<_, (i64, Vec<u8>, bool)>("SELECT version, checksum, success FROM _sqlx_migrations");
    let applied: Vec<_> = match applied.fetch_all(&mut connection).await {
        Err(error) if is_undefined_table(&error) => Vec::new(),
        applied => applied?,
    };
    let is_ours = |(version, checksum, success): &(i64, Vec<u8>, bool)| {
        *success && MIGRATIONS.iter().any(|known| known.version == *version && *known.checksum == **checksum)
    };
    let ours = applied.iter().filter(|applied| is_ours(applied)).count();
    Ok(Inspection {
        version: server.version,
        read_only: server.read_only,
        missing: MIGRATIONS.iter().count() - ours,
        foreign: applied.len() - ours,
    })
}

fn options(url: &SecretString) -> sqlx::Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url.expose_secret())?;
    Ok(options.application_name("renderhook").disable_statement_logging())
}

/// The connections to Postgres. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
    lost: Arc<AtomicBool>,
    losses: Arc<AtomicU64>,
}

/// Why a statement gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The database does not answer: nothing is known to have been written.
    #[error("the database does not answer")]
    Away,
    /// The database refused the statement.
    #[error("the database refused")]
    Refused,
}

impl Database {
    /// Prepares connections to `url`; none is made yet.
    pub fn new(url: &SecretString) -> Result<Self, sqlx::Error> {
        let pool = PgPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(REQUEST)
            .idle_timeout(Duration::from_mins(5))
            .connect_lazy_with(options(url)?);
        Ok(Self::from_pool(pool))
    }

    /// Uses connections that are there.
    #[must_use]
    pub fn from_pool(pool: PgPool) -> Self {
        Self { pool, lost: Arc::default(), losses: Arc::default() }
    }

    /// The connections.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// How often it was lost since this process runs: who remembers the number learns that something may have been missed.
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// Applies the migrations that are missing. Safe while others do the same: Postgres lets one at a time.
    pub async fn migrate(&self) -> Result<(), sqlx::migrate::MigrateError> {
        MIGRATIONS.run(&self.pool).await
    }

    /// Whether every migration that this program needs is applied.
    pub async fn is_migrated(&self) -> Result<bool, DatabaseError> {
        let newest = MIGRATIONS.iter().map(|migration| migration.version).max();
        // Not checked at build time, because the table is sqlx's own.
        let applied = sqlx::query_scalar::<_, Option<i64>>("SELECT max(version) FROM _sqlx_migrations WHERE success");
        let applied = applied.fetch_one(&self.pool);
        let applied = applied.map(|applied| match applied {
            Err(error) if is_undefined_table(&error) => Ok(None),
            applied => applied,
        });
        Ok(self.within(REQUEST, applied).await? >= newest)
    }

    /// Runs a statement with a deadline.
    pub async fn within<T>(
        &self,
        limit: Duration,
        statement: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T, DatabaseError> {
        match tokio::time::timeout(limit, statement).await {
            Ok(Ok(value)) => {
                self.found();
                Ok(value)
            }
            Ok(Err(cause)) if is_away(&cause) => {
                self.missed(&cause.to_string());
                Err(DatabaseError::Away)
            }
            Ok(Err(cause)) => {
                // Told here, once: a statement that should never have been made.
                error!(event = %LogEvent::DatabaseLost, error = %cause, "the database refused a statement: please report this");
                Err(DatabaseError::Refused)
            }
            Err(_elapsed) => {
                self.missed("no answer in time");
                Err(DatabaseError::Away)
            }
        }
    }

    fn missed(&self, cause: &str) {
        if !self.lost.swap(true, Ordering::Relaxed) {
            self.losses.fetch_add(1, Ordering::Relaxed);
            error!(event = %LogEvent::DatabaseLost, error = cause, "the database does not answer: events get 503 and are sent again");
        }
    }

    fn found(&self) {
        if self.lost.load(Ordering::Relaxed) && self.lost.swap(false, Ordering::Relaxed) {
            info!(event = %LogEvent::DatabaseRestored, "the database answers again");
        }
    }
}

/// Whether a statement named a table that is not there.
fn is_undefined_table(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|refusal| refusal.code().as_deref() == Some("42P01"))
}

/// Whether an error says that the database is not there, rather than that it dislikes the statement.
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Connection exceptions, too many connections, out of disk or memory, shut down, starting up, read-only.
        sqlx::Error::Database(refusal) => {
            refusal.code().is_some_and(|code| ["08", "53", "57P", "25006"].iter().any(|class| code.starts_with(class)))
        }
        _ => false,
    }
}
