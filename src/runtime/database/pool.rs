//! The connection pool.
//!
//! When a statement is canceled on our side, sqlx's pool pings its connection, with no time limit, before that
//! connection's slot is free again. If the host hangs, the ping never returns, and after enough canceled statements every
//! slot is taken: the pool is stuck for good although new connections would work. A stuck pool is therefore replaced by
//! a new one.

use std::sync::OnceLock;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool};
use tokio::time::timeout;

use super::REQUEST_TIMEOUT;

/// The maximum number of connections per process, not counting the one for LISTEN.
const MAX_CONNECTIONS: u32 = 16;
/// How long an idle connection is kept open.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// A connection that was idle for less than this is used without a ping.
const RECENTLY_USED: Duration = Duration::from_secs(1);
/// How long a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a replaced pool may take to close its connections.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// How many connections there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Those that nobody uses.
    pub idle: u32,
    /// Those that somebody uses.
    pub in_use: u32,
}

/// A linked list of pools: the last one is in use, the others have been replaced.
#[derive(Debug)]
pub(super) struct Pools {
    pool: PgPool,
    next: OnceLock<Box<Pools>>,
}

impl Pools {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self::from_pool(new_pool(options))
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

    /// The connections of the pool in use.
    pub(super) fn in_use(&self) -> PoolUse {
        let pool = self.current();
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
        PoolUse { idle, in_use: pool.size().saturating_sub(idle) }
    }

    /// Whether the pool in use can provide a connection that answers a ping.
    pub(super) async fn is_usable(&self) -> bool {
        let ping = timeout(2 * PING_TIMEOUT, async { self.current().acquire().await?.ping().await });
        matches!(ping.await, Ok(Ok(())))
    }

    /// Replaces the pool in use with a new one. Statements that run on the old pool may still finish.
    pub(super) fn replace(&self, options: PgConnectOptions) {
        let last = self.last();
        if last.next.set(Box::new(Self::new(options))).is_ok() {
            let replaced = last.pool.clone();
            // OK to stop waiting: a connection that still hangs is closed when the last statement drops it.
            tokio::spawn(async move { timeout(CLOSE_TIMEOUT, replaced.close()).await });
        }
    }
}

/// Creates a pool without connecting yet.
fn new_pool(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(REQUEST_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        // sqlx's own test has no time limit and runs before each use; `before_acquire` replaces it.
        .test_before_acquire(false)
        .before_acquire(|connection, metadata| {
            Box::pin(async move {
                let is_recent = metadata.idle_for < RECENTLY_USED;
                Ok(is_recent || matches!(timeout(PING_TIMEOUT, connection.ping()).await, Ok(Ok(()))))
            })
        })
        .connect_lazy_with(options)
}
