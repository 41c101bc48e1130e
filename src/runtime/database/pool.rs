//! The connections for statements.
//!
//! sqlx's pool waits without limit for a connection whose statement was given up: it pings it before the connection's
//! place in the pool is free again. When the host behind it hangs, that answer never comes, and after as many statements
//! as there are places the pool is dead for good, though new connections would work. So a pool that has come to a
//! standstill is abandoned here, and a new one takes its place.

use std::sync::OnceLock;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool};
use tokio::time::timeout;

use super::REQUEST;

/// How many connections a process makes for statements.
const MAX_CONNECTIONS: u32 = 16;
/// How long a connection that is not in use is kept.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// A connection that was idle for less than this is used without a look at it.
const RECENTLY_USED: Duration = Duration::from_secs(1);
/// How long a connection may take to answer a ping.
const PING: Duration = Duration::from_secs(1);
/// How long an abandoned pool gets to close what it can.
const CLOSE: Duration = Duration::from_secs(30);

/// The pool in use, and the abandoned ones before it.
#[derive(Debug)]
pub(super) struct Pools {
    pool: PgPool,
    next: OnceLock<Box<Pools>>,
}

impl Pools {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self::from_pool(pool(options))
    }

    pub(super) fn from_pool(pool: PgPool) -> Self {
        Self { pool, next: OnceLock::new() }
    }

    fn last(&self) -> &Self {
        let mut pools = self;
        while let Some(next) = pools.next.get() {
            pools = next;
        }
        pools
    }

    /// The pool in use.
    pub(super) fn current(&self) -> &PgPool {
        &self.last().pool
    }

    /// Whether the pool in use has a connection that answers, now.
    pub(super) async fn is_usable(&self) -> bool {
        let answered = timeout(2 * PING, async { self.current().acquire().await?.ping().await });
        matches!(answered.await, Ok(Ok(())))
    }

    /// Abandons the pool in use for a new one. Statements that run on the old one still end there.
    pub(super) fn replace(&self, options: PgConnectOptions) {
        let last = self.last();
        if last.next.set(Box::new(Self::new(options))).is_ok() {
            let abandoned = last.pool.clone();
            // OK to give up: what still hangs then is closed with the last statement that holds it.
            tokio::spawn(async move { timeout(CLOSE, abandoned.close()).await });
        }
    }
}

/// A pool of which no connection is made yet.
fn pool(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(REQUEST)
        .idle_timeout(IDLE_TIMEOUT)
        // Instead of a ping without a deadline before each statement.
        .test_before_acquire(false)
        .before_acquire(|connection, connected| {
            Box::pin(async move {
                let answers =
                    connected.idle_for < RECENTLY_USED || matches!(timeout(PING, connection.ping()).await, Ok(Ok(())));
                Ok(answers)
            })
        })
        .connect_lazy_with(options)
}
