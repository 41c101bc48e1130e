//! Graceful shutdown.
//!
//! On a stop request, no new connections or downloads are accepted, transfers are interrupted so that another process can
//! resume them, and requests in progress are answered. After [`DRAIN_TIMEOUT`], whatever still runs is canceled; after
//! another [`CANCEL_TIMEOUT`], the process ends in any case. Together this fits into the ten seconds that container
//! engines allow by default.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long work in progress may continue after the stop request.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(6);
/// How long canceled work may take to end after that.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(3);

/// The stop request and the forced stop that follows it, and the tasks to wait for. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    requested: CancellationToken,
    forced: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Requests a stop.
    pub fn stop(&self) {
        self.requested.cancel();
    }

    /// Whether a stop was requested.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// The token that is canceled when a stop is requested.
    #[must_use]
    pub fn requested(&self) -> &CancellationToken {
        &self.requested
    }

    /// Waits until a stop is requested.
    pub async fn wait_for_stop(&self) {
        self.requested.cancelled().await;
    }

    /// Sleeps, but returns early when a stop is requested.
    pub async fn sleep(&self, duration: Duration) {
        let _ = tokio::time::timeout(duration, self.wait_for_stop()).await;
    }

    /// The token that is canceled when the time to drain is over.
    #[must_use]
    pub fn forced(&self) -> &CancellationToken {
        &self.forced
    }

    /// The tasks that [`drain`](Self::drain) waits for.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Waits for every task within both time limits. Returns whether all of them ended.
    pub async fn drain(&self) -> bool {
        self.tasks.close();
        if tokio::time::timeout(DRAIN_TIMEOUT, self.tasks.wait()).await.is_ok() {
            return true;
        }
        self.forced.cancel();
        tokio::time::timeout(CANCEL_TIMEOUT, self.tasks.wait()).await.is_ok()
    }
}
