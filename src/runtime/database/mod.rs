//! The database: connections, migrations, and outages.
//!
//! Every statement runs in [`Database::with_timeout`], which gives it a time limit and detects outages. An outage and its
//! end are logged once each, however many statements fail in between. A statement that times out does not count as an
//! outage. Instead, the database is tested on a separate connection, and connections that hang are replaced.
//!
//! Whatever the server's defaults are, sessions use READ COMMITTED and UTF-8, and every statement has a time limit.

mod begin;
mod connect;
mod connect_error;
mod error;
mod inspect;
mod migrations;
mod pool;
mod pooling;
mod reachability;
mod statements;

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::time::Instant;
use tracing::warn;

pub use self::begin::begin;
use self::connect::DatabaseConnector;
pub use self::connect::{DatabaseUrls, DirectUrl};
pub use self::connect_error::ConnectError;
pub use self::error::DatabaseError;
use self::error::is_undefined_table;
pub use self::inspect::{InspectError, Inspection, inspect_database};
pub use self::migrations::{MIGRATIONS, MigrationError};
pub use self::pool::PoolUse;
use self::pool::Pools;
pub use self::pooling::Pooling;
use self::reachability::Reachability;
pub use self::statements::{BACKGROUND_TIMEOUT, REQUEST_TIMEOUT};
use crate::runtime::log::LogEvent;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait at startup for a database that cannot be reached.
const STARTUP_TIMEOUT: Duration = Duration::from_mins(1);
/// A handle to Postgres. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connector: DatabaseConnector,
    pools: Pools,
    reachability: Reachability,
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
        Self(Arc::new(Inner { connector, pools, reachability: Reachability::default() }))
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
        self.0.reachability.outage_count()
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
}
