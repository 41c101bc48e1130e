//! Stopping in order.
//!
//! First everything is asked to stop: no new connection, no new claim. Transfers are interrupted and handed back at once,
//! so that another process can resume them; requests in progress are answered. After [`DRAIN`], what still runs is
//! canceled. [`FORCE`] later the process ends in any case. All of it fits into the ten seconds that container engines
//! give a process by default.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long work in progress may continue after the stop was requested.
pub(super) const DRAIN: Duration = Duration::from_secs(6);
/// How long breaking off may take after that.
pub(super) const FORCE: Duration = Duration::from_secs(3);

/// The two calls to stop, and everything that has to hear them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Asks everything to stop.
    pub fn stop(&self) {
        self.soft.cancel();
    }

    /// Whether the stop was asked for.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Cancelled when the stop is asked for.
    #[must_use]
    pub fn asked(&self) -> &CancellationToken {
        &self.soft
    }

    /// Returns once the stop is asked for.
    pub async fn stopping(&self) {
        self.soft.cancelled().await;
    }

    /// Cancelled when whatever still runs has to break off.
    #[must_use]
    pub fn deadline(&self) -> &CancellationToken {
        &self.hard
    }

    /// The tasks that the end waits for.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Waits for every task, with both deadlines. Returns whether all of them ended by themselves.
    pub async fn drained(&self) -> bool {
        self.tasks.close();
        if tokio::time::timeout(DRAIN, self.tasks.wait()).await.is_ok() {
            return true;
        }
        self.hard.cancel();
        tokio::time::timeout(FORCE, self.tasks.wait()).await.is_ok()
    }
}
