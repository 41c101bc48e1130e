//! Whether the database can be reached. An outage and its end are logged once each.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::connect::DatabaseConnector;
use super::pool::Pools;
use crate::runtime::log::LogEvent;

/// The minimum time between two pool replacements: statements may still be running on the replaced pool.
const REPLACE_INTERVAL: Duration = Duration::from_secs(15);
/// The minimum time between two log lines about slow statements.
const SLOW_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What statements and examinations have shown.
#[derive(Debug, Default)]
pub(super) struct Reachability {
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

impl Reachability {
    /// How many outages there were.
    pub(super) fn outage_count(&self) -> u64 {
        self.outages.load(Ordering::Relaxed)
    }

    /// Counts a statement that did not finish in time.
    pub(super) fn count_slow_statement(&self) {
        self.slow_statements.fetch_add(1, Ordering::Relaxed);
    }

    /// Tests the database on a connection of its own, and replaces connections that hang. Does nothing while another task
    /// does so.
    pub(super) async fn examine(&self, connector: &DatabaseConnector, pools: &Pools) {
        let Ok(mut last) = self.examination.try_lock() else { return };
        if let Err(error) = connector.connect().await {
            self.mark_unreachable(&error.to_string());
            return;
        }
        self.mark_reachable();
        if !pools.is_usable().await && has_elapsed(REPLACE_INTERVAL, last.pool_replaced_at) {
            pools.replace(connector.options());
            last.pool_replaced_at = Some(Instant::now());
            warn!(event = %LogEvent::DatabaseReconnected, "replaced connections that did not respond; new ones work");
        }
        if has_elapsed(SLOW_LOG_INTERVAL, last.slow_logged_at) {
            let statements = self.slow_statements.swap(0, Ordering::Relaxed);
            last.slow_logged_at = Some(Instant::now());
            warn!(event = %LogEvent::DatabaseSlow, statements, "statements did not finish in time");
        }
    }

    pub(super) fn mark_unreachable(&self, cause: &str) {
        if !self.is_unreachable.swap(true, Ordering::Relaxed) {
            self.outages.fetch_add(1, Ordering::Relaxed);
            error!(event = %LogEvent::DatabaseLost, error = cause, "the database cannot be reached: events are answered with 503, and Magic Hour sends them again");
        }
    }

    pub(super) fn mark_reachable(&self) {
        if self.is_unreachable.load(Ordering::Relaxed) && self.is_unreachable.swap(false, Ordering::Relaxed) {
            info!(event = %LogEvent::DatabaseRestored, "the database can be reached again");
        }
    }
}

/// Whether `interval` has elapsed since `last`, which is `None` for never.
fn has_elapsed(interval: Duration, last: Option<Instant>) -> bool {
    last.is_none_or(|last| last.elapsed() >= interval)
}
