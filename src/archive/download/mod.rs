//! One download, from its claim to its settlement.
//!
//! The file streams from its server into the store and is hashed on the way; then the row says that it is stored.
//! Guaranteed: a row says `stored` only after the store has the whole object durably; a worker that lost its lease
//! settles nothing; at a stop a worker gives its claim back at once, with what the store has. Anything else that ends a
//! download in between leaves the row leased, and it is due again when the lease expires. Doing it twice writes the same
//! object.

mod begin;
mod checkpoints;
mod lease;
mod progress;
mod settle;
mod transfer;

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::lease::LeaseRenewer;
use self::progress::TransferredBytes;
use self::settle::{AttemptEnd, Settling};
use self::transfer::{AttemptContext, Interruption};
use crate::archive::fetch::{Failure, Fetcher};
use crate::archive::queue::{ClaimedDownload, StoredObject};
use crate::archive::settlement::{AttemptOutcome, Settler};
use crate::archive::store::{Store, StoreHealth};
use crate::domain::SignedUrl;
use crate::runtime::Clock;
use crate::runtime::Database;
use crate::runtime::LogEvent;
use crate::runtime::Shutdown;

/// A URL that expires sooner than this is not tried if a fresh one can be had.
const MIN_URL_LIFETIME: Duration = Duration::from_mins(15);

/// What every download needs.
#[derive(Debug)]
pub struct Downloader {
    /// Where the rows are.
    pub database: Database,
    /// Settles attempts.
    pub settler: Settler,
    /// Where the files go.
    pub store: Store,
    /// Whether that works, for the log.
    pub store_health: StoreHealth,
    /// Fetches them.
    pub fetcher: Fetcher,
    /// The time.
    pub clock: Clock,
    /// How long a claim lasts without renewal.
    pub lease: Duration,
    /// How many attempts a download has.
    pub max_attempts: u32,
    /// Whether fresh URLs can be had.
    pub renews: bool,
    /// Whether the project is deleted at Magic Hour once all its files are stored.
    pub deletes: bool,
}

/// An attempt that has ended and is to be settled.
#[derive(Debug)]
pub struct EndedAttempt {
    claimed: ClaimedDownload,
    started_at: DateTime<Utc>,
    outcome: AttemptOutcome,
}

impl Downloader {
    /// Makes one attempt at a claimed download and settles it. A stop interrupts it and gives the claim back.
    pub async fn process(&self, claimed: ClaimedDownload, shutdown: &Shutdown) {
        if let Some(ended) = Box::pin(self.attempt(claimed, shutdown)).await {
            self.settle(ended, shutdown).await;
        }
    }

    /// Makes one attempt at a claimed download. `None` if nothing is left to settle.
    pub async fn attempt(&self, claimed: ClaimedDownload, shutdown: &Shutdown) -> Option<EndedAttempt> {
        let started_at = self.clock.now();
        if claimed.taken_over && claimed.attempt > self.max_attempts {
            return Some(EndedAttempt { claimed, started_at, outcome: AttemptOutcome::LeasesExpired });
        }
        let settling = Settling { downloader: self, claimed: &claimed, started_at, deadline: shutdown.forced() };
        if self.renews && expires_soon(&claimed, started_at) {
            match settling.settle(AttemptOutcome::UrlExpiring).await {
                AttemptEnd::Settled => return None,
                AttemptEnd::StillClaimed => {}
            }
        }
        log_start(&claimed);
        let outcome = match self.transfer(&claimed, shutdown).await {
            Ok(object) => {
                self.store_health.works();
                AttemptOutcome::Stored(object)
            }
            Err(Interruption::Failed(failure) | Interruption::Spoiled(failure)) => AttemptOutcome::Failed(failure),
            Err(Interruption::Store(error)) => {
                self.store_health.failed(&error);
                AttemptOutcome::Failed(Failure::transient("store_failed", error.to_string()))
            }
            Err(Interruption::Stopped) => AttemptOutcome::Interrupted,
            Err(Interruption::LeaseLost) => {
                settling.report_lost_lease();
                return None;
            }
        };
        Some(EndedAttempt { claimed, started_at, outcome })
    }

    /// Settles an attempt.
    pub async fn settle(&self, ended: EndedAttempt, shutdown: &Shutdown) {
        let EndedAttempt { claimed, started_at, outcome } = ended;
        let settling = Settling { downloader: self, claimed: &claimed, started_at, deadline: shutdown.forced() };
        settling.settle(outcome).await;
    }

    /// Transfers the file while the lease is renewed.
    async fn transfer(&self, claimed: &ClaimedDownload, shutdown: &Shutdown) -> Result<StoredObject, Interruption> {
        let lease = &LeaseRenewer::new(self, &claimed.lease);
        let stop = shutdown.requested().child_token();
        let (done, progress) = (CancellationToken::new(), &TransferredBytes::default());
        let deadline = shutdown.forced();
        let attempt = AttemptContext { downloader: self, claimed, lease, progress, stop: &stop, deadline };
        let transfer = async {
            let ended = Box::pin(attempt.run()).await;
            done.cancel();
            ended
        };
        let (ended, held, ()) =
            tokio::join!(transfer, lease.renew_until(&stop, &done), self.report_progress(claimed, progress, &done));
        if held { ended } else { Err(Interruption::LeaseLost) }
    }
}

fn expires_soon(claimed: &ClaimedDownload, now: DateTime<Utc>) -> bool {
    claimed.url.is_ok() && claimed.expires_at.is_some_and(|expires_at| expires_at <= now + MIN_URL_LIFETIME)
}

fn log_start(claimed: &ClaimedDownload) {
    let (event, message) = if claimed.taken_over {
        (LogEvent::DownloadTakenOver, "took over a download whose lease had expired")
    } else {
        (LogEvent::DownloadStarted, "started a download")
    };
    info!(
        event = %event,
        render.id = %claimed.lease.render_id(),
        download.index = claimed.lease.index(),
        attempt = claimed.attempt,
        url.host = claimed.url.as_ref().map(SignedUrl::host).unwrap_or_default(),
        "{message}"
    );
}
