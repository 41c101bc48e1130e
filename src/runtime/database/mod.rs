//! The database: connections, migrations, and outages.
//!
//! Every statement runs in [`Database::with_timeout`], which gives it a time limit and detects outages. An outage and its
//! end are logged once each, however many statements fail in between. A statement that times out does not count as an
//! outage. Instead, the database is tested on a separate connection, and connections that hang are replaced.
//!
//! Whatever the server's defaults are, sessions use READ COMMITTED and UTF-8, and every statement has a time limit.

mod connect;
mod connect_error;
mod error;
mod inspect;
mod migrations;
mod pool;
mod pooling;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use self::connect::DatabaseConnector;
pub use self::connect::{DatabaseUrls, DirectUrl};
pub use self::connect_error::ConnectError;
pub use self::error::DatabaseError;
use self::error::{ErrorClass, is_undefined_table};
pub use self::inspect::{InspectError, Inspection, inspect_database};
pub use self::migrations::{MIGRATIONS, MigrationError};
pub use self::pool::PoolUse;
use self::pool::Pools;
pub use self::pooling::Pooling;
use crate::runtime::log::LogEvent;

/// The time limit of a statement for a request, including connecting.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// The time limit of a statement for background work.
pub const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait at startup for a database that cannot be reached.
const STARTUP_TIMEOUT: Duration = Duration::from_mins(1);
/// The minimum time between two pool replacements: statements may still be running on the replaced pool.
const REPLACE_INTERVAL: Duration = Duration::from_secs(15);
/// The minimum time between two log lines about slow statements.
const SLOW_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// The average delay before a statement is retried after a conflict.
const CONFLICT_DELAY: Duration = Duration::from_millis(20);

/// A handle to Postgres. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connector: DatabaseConnector,
    pools: Pools,
    is_unreachable: AtomicBool,
    outages: AtomicU64,
    slow_statements: AtomicU64,
    /// Locked while a task examines the database.
    examination: Mutex<Examination>,
}

/// When the last examinations acted.
#[derive(Debug, Default)]
struct Examination {
    pool_replaced_at: Option<Instant>,
    slow_logged_at: Option<Instant>,
}

impl Database {
    /// Creates a pool for `urls` without connecting yet.
    pub fn new(urls: &DatabaseUrls) -> Result<Self, sqlx::Error> {
        let connector = DatabaseConnector::new(urls)?;
        let pools = Pools::new(connector.options());
        Ok(Self::with(connector, pools))
    }

    /// Uses an existing pool.
    #[must_use]
    pub fn from_pool(pool: PgPool) -> Self {
        Self::with(DatabaseConnector::from_options(&pool.connect_options()), Pools::from_pool(pool))
    }

    fn with(connector: DatabaseConnector, pools: Pools) -> Self {
        Self(Arc::new(Inner {
            connector,
            pools,
            is_unreachable: AtomicBool::default(),
            outages: AtomicU64::default(),
            slow_statements: AtomicU64::default(),
            examination: Mutex::default(),
        }))
    }

    /// The connection pool.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        self.0.pools.current()
    }

    /// How many connections there are.
    #[must_use]
    pub fn pool_use(&self) -> PoolUse {
        self.0.pools.in_use()
    }

    /// A connection for LISTEN; `None` if there is only a pooler in transaction mode.
    pub async fn listener(&self) -> Option<sqlx::Result<PgListener>> {
        self.0.connector.listener().await
    }

    /// How many outages there were since this process started. A caller that sees the number change may have missed
    /// something.
    #[must_use]
    pub fn outage_count(&self) -> u64 {
        self.0.outages.load(Ordering::Relaxed)
    }

    /// Opens a connection, to report what is wrong with the URL or the database and what to do about it.
    pub async fn connect(&self) -> Result<(), ConnectError> {
        let before = self.0.connector.options();
        self.0.connector.connect().await?;
        let after = self.0.connector.options();
        // If the server rejects startup options, the pool must not use them either.
        if before.get_options() != after.get_options() {
            self.0.pools.replace(after);
        }
        Ok(())
    }

    /// Like [`connect`](Self::connect), but waits up to a minute for a database that is still starting. An error that
    /// waiting cannot fix is returned at once.
    pub async fn connect_at_start(&self) -> Result<(), ConnectError> {
        let deadline = Instant::now() + STARTUP_TIMEOUT;
        let mut delay = Duration::from_millis(100);
        let mut logged = None;
        loop {
            let error = match self.connect().await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_transient() && Instant::now() < deadline => error,
                Err(error) => return Err(error),
            };
            if logged.as_ref() != Some(&error) {
                warn!(event = %LogEvent::DatabaseWaiting, error = %error, "waiting up to a minute for the database");
                logged = Some(error);
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(Duration::from_secs(2));
        }
    }

    /// Detects a pooler in transaction mode, so that LISTEN is not used through it. It is an error if the pooler does not
    /// support prepared statements.
    pub async fn detect_pooler(&self) -> Result<(), ConnectError> {
        if self.0.connector.detect_pooler().await? {
            warn!(event = %LogEvent::DatabasePooled, "DATABASE_URL is a pooler in transaction mode: set DATABASE_DIRECT_URL, or changes are only noticed every few seconds");
        }
        Ok(())
    }

    /// Applies missing migrations and returns how many were applied. Several processes may do so at once.
    pub async fn migrate(&self) -> Result<usize, MigrationError> {
        migrations::apply(&self.0.connector).await
    }

    /// Whether every migration of this program is applied.
    pub async fn is_migrated(&self) -> Result<bool, DatabaseError> {
        let newest = MIGRATIONS.iter().map(|migration| migration.version).max();
        // Not checked at build time, because the table belongs to sqlx.
        let applied = sqlx::query_scalar::<_, Option<i64>>("SELECT max(version) FROM _sqlx_migrations WHERE success");
        let applied = async {
            match applied.fetch_one(self.pool()).await {
                Err(error) if is_undefined_table(&error) => Ok(None),
                applied => applied,
            }
        };
        Ok(self.with_timeout(REQUEST_TIMEOUT, applied).await? >= newest)
    }

    /// Whether a transaction failed because of a concurrent one, had no effect, and can be repeated.
    #[must_use]
    pub fn is_conflict(error: &sqlx::Error) -> bool {
        error.as_database_error().is_some_and(error::is_conflict)
    }

    /// Runs a statement with a time limit.
    pub async fn with_timeout<T>(
        &self,
        limit: Duration,
        statement: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T, DatabaseError> {
        self.with_deadline(Instant::now() + limit, statement).await
    }

    /// Runs a statement with a time limit, and retries it after a conflict with a concurrent statement. For statements
    /// that change several rows.
    pub async fn with_timeout_and_retry<T, S>(
        &self,
        limit: Duration,
        mut statement: impl FnMut() -> S,
    ) -> Result<T, DatabaseError>
    where
        S: Future<Output = sqlx::Result<T>>,
    {
        let deadline = Instant::now() + limit;
        loop {
            match self.with_deadline(deadline, statement()).await {
                Err(DatabaseError::Conflict) if Instant::now() < deadline => {
                    let delay = CONFLICT_DELAY.mul_f64(rand::random_range(0.5..1.5));
                    tokio::time::sleep(delay).await;
                }
                result => return result,
            }
        }
    }

    async fn with_deadline<T>(
        &self,
        deadline: Instant,
        statement: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T, DatabaseError> {
        let error = match timeout_at(deadline, statement).await {
            Ok(Ok(value)) => {
                self.0.mark_reachable();
                return Ok(value);
            }
            Ok(Err(error)) => error,
            Err(_elapsed) => {
                self.examine();
                return Err(DatabaseError::TimedOut);
            }
        };
        Err(match ErrorClass::of(&error) {
            ErrorClass::Unreachable => {
                self.0.mark_unreachable(&error.to_string());
                DatabaseError::Unreachable
            }
            ErrorClass::NoConnection | ErrorClass::TimedOut => {
                self.examine();
                DatabaseError::TimedOut
            }
            ErrorClass::Conflict => DatabaseError::Conflict,
            ErrorClass::Refused => {
                // Logged here, once, because it is a bug or a missing privilege.
                error!(event = %LogEvent::DatabaseRefused, error = %error, "the database refused a statement");
                DatabaseError::Refused(error.to_string())
            }
        })
    }

    /// Finds out why a statement timed out, unless another task is already doing so.
    fn examine(&self) {
        self.0.slow_statements.fetch_add(1, Ordering::Relaxed);
        let inner = self.0.clone();
        tokio::spawn(async move {
            if let Ok(mut last) = inner.examination.try_lock() {
                inner.examine(&mut last).await;
            }
        });
    }
}

impl Inner {
    async fn examine(&self, last: &mut Examination) {
        if let Err(error) = self.connector.connect().await {
            self.mark_unreachable(&error.to_string());
            return;
        }
        self.mark_reachable();
        if !self.pools.is_usable().await && has_elapsed(REPLACE_INTERVAL, last.pool_replaced_at) {
            self.pools.replace(self.connector.options());
            last.pool_replaced_at = Some(Instant::now());
            warn!(event = %LogEvent::DatabaseReconnected, "replaced connections that did not respond; new ones work");
        }
        if has_elapsed(SLOW_LOG_INTERVAL, last.slow_logged_at) {
            let statements = self.slow_statements.swap(0, Ordering::Relaxed);
            last.slow_logged_at = Some(Instant::now());
            warn!(event = %LogEvent::DatabaseSlow, statements, "statements did not finish in time");
        }
    }

    fn mark_unreachable(&self, cause: &str) {
        if !self.is_unreachable.swap(true, Ordering::Relaxed) {
            self.outages.fetch_add(1, Ordering::Relaxed);
            error!(event = %LogEvent::DatabaseLost, error = cause, "the database cannot be reached: events are answered with 503, and Magic Hour sends them again");
        }
    }

    fn mark_reachable(&self) {
        if self.is_unreachable.load(Ordering::Relaxed) && self.is_unreachable.swap(false, Ordering::Relaxed) {
            info!(event = %LogEvent::DatabaseRestored, "the database can be reached again");
        }
    }
}

/// Whether `interval` has elapsed since `last`, which is `None` for never.
fn has_elapsed(interval: Duration, last: Option<Instant>) -> bool {
    last.is_none_or(|last| last.elapsed() >= interval)
}
