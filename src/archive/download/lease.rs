//! Renews the lease of a download while its transfer runs.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Downloader;
use crate::archive::queue::{Lease, LeaseError, renew_lease};

/// Renews a lease, and remembers when it was last known to be held.
#[derive(Debug)]
pub(super) struct LeaseRenewer<'a> {
    downloader: &'a Downloader,
    lease: &'a Lease,
    confirmed_at: Mutex<Instant>,
}

impl<'a> LeaseRenewer<'a> {
    /// Starts with a lease that was claimed a moment ago.
    pub(super) fn new(downloader: &'a Downloader, lease: &'a Lease) -> Self {
        Self { downloader, lease, confirmed_at: Mutex::new(Instant::now()) }
    }

    /// Renews the lease until `done`, or until it is lost, which cancels `stop`. Returns whether it is still held.
    pub(super) async fn renew_until(&self, stop: &CancellationToken, done: &CancellationToken) -> bool {
        let third = self.downloader.lease / 3;
        while done.run_until_cancelled(tokio::time::sleep(third)).await.is_some() {
            if matches!(self.renew().await, Err(LeaseError::Lost)) {
                stop.cancel();
                return false;
            }
        }
        true
    }

    /// Whether the lease is held, as far as is known. It is renewed unless that was done a moment ago. While the database is
    /// down, nobody can renew a lease or take one over.
    pub(super) async fn is_not_lost(&self) -> bool {
        self.confirmed_at().elapsed() < self.downloader.lease / 3
            || !matches!(self.renew().await, Err(LeaseError::Lost))
    }

    /// Until when the lease is certainly held: half of its length, which leaves enough for slow statements and for clocks
    /// that differ.
    pub(super) fn held_until(&self) -> std::time::Instant {
        (self.confirmed_at() + self.downloader.lease / 2).into_std()
    }

    /// Renews the lease for its whole length, and returns whether it is certainly held for that time.
    pub(super) async fn confirm(&self) -> bool {
        self.renew().await.is_ok()
    }

    async fn renew(&self) -> Result<(), LeaseError> {
        let started_at = Instant::now();
        let until = self.downloader.clock.now() + self.downloader.lease;
        renew_lease(&self.downloader.database, self.lease, until).await?;
        *self.confirmed_at.lock().unwrap_or_else(PoisonError::into_inner) = started_at;
        Ok(())
    }

    fn confirmed_at(&self) -> Instant {
        *self.confirmed_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
