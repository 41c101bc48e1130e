//! The database: its connections, its migrations, and whether it can be reached.
//!
//! Every statement of the service runs inside [`Database::within`], which gives it a deadline and notices when the
//! database cannot be reached any more, and when it can again: one line of the log each, however many statements failed
//! in between. A statement that is merely slow is no loss: after one, the database is examined on a connection of its
//! own, and connections that hang are given up for new ones.
//!
//! Counted on, whatever the server's defaults are: READ COMMITTED, UTF-8, and statements that end.

mod connect;
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

use self::connect::Connector;
pub use self::connect::{ConnectError, ConnectFailure, DatabaseUrls, DirectUrl};
pub use self::error::DatabaseError;
use self::error::{Failure, is_undefined_table};
pub use self::inspect::{InspectError, Inspection, inspect};
pub use self::migrations::{MIGRATIONS, MigrationError};
use self::pool::Pools;
pub use self::pooling::Pooling;
use crate::runtime::log::LogEvent;

/// How long a statement of a request may take, connecting included.
pub const REQUEST: Duration = Duration::from_secs(3);

/// How long a statement of the work behind the scenes may take.
pub const BACKGROUND: Duration = Duration::from_secs(10);

/// How long a database that cannot be reached yet is waited for at start.
const WAIT_AT_START: Duration = Duration::from_mins(1);
/// The shortest time between two pools: statements of an abandoned one may still be under way.
const REPLACE_AGAIN: Duration = Duration::from_secs(15);
/// The shortest time between two lines about slow statements.
const REPORT_SLOW_AGAIN: Duration = Duration::from_secs(10);
/// About how long to wait before a statement that lost against another one is run again.
const CONFLICT_DELAY: Duration = Duration::from_millis(20);

/// The connections to Postgres. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connector: Connector,
    pools: Pools,
    lost: AtomicBool,
    losses: AtomicU64,
    slow_statements: AtomicU64,
    /// Held by whoever examines the database.
    examination: Mutex<Examined>,
}

#[derive(Debug, Default)]
struct Examined {
    replaced_at: Option<Instant>,
    reported_at: Option<Instant>,
}

impl Database {
    /// Prepares connections to `urls`; none is made yet.
    pub fn new(urls: &DatabaseUrls) -> Result<Self, sqlx::Error> {
        let connector = Connector::new(urls)?;
        let pools = Pools::new(connector.options());
        Ok(Self::with(connector, pools))
    }

    /// Uses the connections of `pool`.
    #[must_use]
    pub fn from_pool(pool: PgPool) -> Self {
        Self::with(Connector::like(&pool.connect_options()), Pools::from_pool(pool))
    }

    fn with(connector: Connector, pools: Pools) -> Self {
        Self(Arc::new(Inner {
            connector,
            pools,
            lost: AtomicBool::default(),
            losses: AtomicU64::default(),
            slow_statements: AtomicU64::default(),
            examination: Mutex::default(),
        }))
    }

    /// The connections.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        self.0.pools.current()
    }

    /// A connection that can LISTEN; `None` where no session is kept.
    pub async fn listener(&self) -> Option<sqlx::Result<PgListener>> {
        self.0.connector.listener().await
    }

    /// How often the database was lost since this process started: whoever remembers the number learns that something
    /// may have been missed.
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.0.losses.load(Ordering::Relaxed)
    }

    /// Connects once, so that what is wrong with the URL or the database is found, with what to do about it.
    pub async fn connect(&self) -> Result<(), ConnectError> {
        let was = self.0.connector.options();
        self.0.connector.connect().await?;
        let now = self.0.connector.options();
        // It takes no startup options: the pool has to do without them as well.
        if was.get_options() != now.get_options() {
            self.0.pools.replace(now);
        }
        Ok(())
    }

    /// Connects once, and waits up to a minute for a database that is still starting. What no waiting mends is an error
    /// at once.
    pub async fn connect_at_start(&self) -> Result<(), ConnectError> {
        let deadline = Instant::now() + WAIT_AT_START;
        let mut delay = Duration::from_millis(100);
        let mut reported = None;
        loop {
            let error = match self.connect().await {
                Ok(()) => return Ok(()),
                Err(error) if error.may_pass() && Instant::now() < deadline => error,
                Err(error) => return Err(error),
            };
            if reported.as_ref() != Some(&error) {
                warn!(event = %LogEvent::DatabaseWaiting, error = %error, "waiting for the database, for a minute at most");
                reported = Some(error);
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(Duration::from_secs(2));
        }
    }

    /// Looks for a pooler that does not keep sessions, so that nobody listens through it. One that cannot be used is an
    /// error.
    pub async fn find_pooler(&self) -> Result<(), ConnectError> {
        if self.0.connector.find_pooler().await? {
            warn!(event = %LogEvent::DatabasePooled, "DATABASE_URL leads to a pooler that does not keep sessions: set DATABASE_DIRECT_URL, or everything that waits for a change looks for it every few seconds");
        }
        Ok(())
    }

    /// Applies the migrations that are missing, and returns how many there were. Safe while others do the same.
    pub async fn migrate(&self) -> Result<usize, MigrationError> {
        migrations::apply(&self.0.connector).await
    }

    /// Whether every migration that this program needs is applied.
    pub async fn is_migrated(&self) -> Result<bool, DatabaseError> {
        let newest = MIGRATIONS.iter().map(|migration| migration.version).max();
        // Not checked at build time, because the table is sqlx's own.
        let applied = sqlx::query_scalar::<_, Option<i64>>("SELECT max(version) FROM _sqlx_migrations WHERE success");
        let applied = async {
            match applied.fetch_one(self.pool()).await {
                Err(error) if is_undefined_table(&error) => Ok(None),
                applied => applied,
            }
        };
        Ok(self.within(REQUEST, applied).await? >= newest)
    }

    /// Runs a statement with a deadline.
    pub async fn within<T>(
        &self,
        limit: Duration,
        statement: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T, DatabaseError> {
        self.until(Instant::now() + limit, statement).await
    }

    /// Runs a statement with a deadline, and again where it lost against another one and had no effect. For statements
    /// that change several rows.
    pub async fn within_retrying<T, S>(
        &self,
        limit: Duration,
        mut statement: impl FnMut() -> S,
    ) -> Result<T, DatabaseError>
    where
        S: Future<Output = sqlx::Result<T>>,
    {
        let deadline = Instant::now() + limit;
        loop {
            match self.until(deadline, statement()).await {
                Err(DatabaseError::Conflict) if Instant::now() < deadline => {
                    let delay = CONFLICT_DELAY.mul_f64(rand::random_range(0.5..1.5));
                    tokio::time::sleep(delay).await;
                }
                done => return done,
            }
        }
    }

    async fn until<T>(
        &self,
        deadline: Instant,
        statement: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T, DatabaseError> {
        let error = match timeout_at(deadline, statement).await {
            Ok(Ok(value)) => {
                self.0.mark_restored();
                return Ok(value);
            }
            Ok(Err(error)) => error,
            Err(_elapsed) => {
                self.examine();
                return Err(DatabaseError::TimedOut);
            }
        };
        Err(match Failure::of(&error) {
            Failure::Unreachable => {
                self.0.mark_lost(&error.to_string());
                DatabaseError::Unreachable
            }
            Failure::NoConnection | Failure::TimedOut => {
                self.examine();
                DatabaseError::TimedOut
            }
            Failure::Conflict => DatabaseError::Conflict,
            Failure::Refused => {
                // Logged here, once: a statement that should never have been sent, or a right that is missing.
                error!(event = %LogEvent::DatabaseRefused, error = %error, "the database refused a statement");
                DatabaseError::Refused(error.to_string())
            }
        })
    }

    /// Finds out why a statement did not finish, unless that is being done already.
    fn examine(&self) {
        self.0.slow_statements.fetch_add(1, Ordering::Relaxed);
        let inner = self.0.clone();
        tokio::spawn(async move {
            if let Ok(mut examined) = inner.examination.try_lock() {
                inner.examine(&mut examined).await;
            }
        });
    }
}

impl Inner {
    async fn examine(&self, examined: &mut Examined) {
        if let Err(error) = self.connector.connect().await {
            self.mark_lost(&error.to_string());
            return;
        }
        self.mark_restored();
        if !self.pools.is_usable().await && is_over(examined.replaced_at, REPLACE_AGAIN) {
            self.pools.replace(self.connector.options());
            examined.replaced_at = Some(Instant::now());
            warn!(event = %LogEvent::DatabaseReconnected, "connections that were silent were given up, and new ones work");
        }
        if is_over(examined.reported_at, REPORT_SLOW_AGAIN) {
            let statements = self.slow_statements.swap(0, Ordering::Relaxed);
            examined.reported_at = Some(Instant::now());
            warn!(event = %LogEvent::DatabaseSlow, statements, "statements did not finish in time");
        }
    }

    fn mark_lost(&self, cause: &str) {
        if !self.lost.swap(true, Ordering::Relaxed) {
            self.losses.fetch_add(1, Ordering::Relaxed);
            error!(event = %LogEvent::DatabaseLost, error = cause, "the database cannot be reached: events get 503 and are sent again");
        }
    }

    fn mark_restored(&self) {
        if self.lost.load(Ordering::Relaxed) && self.lost.swap(false, Ordering::Relaxed) {
            info!(event = %LogEvent::DatabaseRestored, "the database can be reached again");
        }
    }
}

/// Whether something happened at least `length` ago, or never.
fn is_over(happened: Option<Instant>, length: Duration) -> bool {
    happened.is_none_or(|happened| happened.elapsed() >= length)
}
