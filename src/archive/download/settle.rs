//! The end of an attempt: one row settled, one line logged.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Downloader;
use crate::archive::metrics::{ATTEMPTS, AttemptLabel, DOWNLOAD_DURATION};
use crate::archive::queue::{ClaimedDownload, LeaseError};
use crate::archive::settlement::{AttemptOutcome, AttemptReport, Settlement, may_give_up};
use crate::runtime::DatabaseError;
use crate::runtime::LogEvent;

/// How long to wait before settling again after the database was down.
const SETTLE_RETRY: Duration = Duration::from_secs(1);

/// Whether a download is still the worker's after its attempt was to be settled.
pub(super) enum AttemptEnd {
    /// It is settled, by this worker or by another, or will be due again when the lease expires.
    Settled,
    /// Nothing has changed: the worker goes ahead with it.
    StillClaimed,
}

/// An attempt that ended, and what is needed to settle it.
pub(super) struct Settling<'a> {
    pub(super) downloader: &'a Downloader,
    pub(super) claimed: &'a ClaimedDownload,
    pub(super) started_at: DateTime<Utc>,
    /// When to stop waiting for a database that is down.
    pub(super) deadline: &'a CancellationToken,
}

impl Settling<'_> {
    pub(super) async fn settle(&self, outcome: AttemptOutcome) -> AttemptEnd {
        let attempt = AttemptReport {
            outcome,
            number: self.claimed.attempt,
            first_at: self.claimed.first_attempt_at,
            url: self.claimed.url.as_ref().ok().cloned(),
            max_attempts: self.downloader.max_attempts,
            renews: self.downloader.renews,
            deletes: self.downloader.deletes,
            chance: rand::random(),
            ended_at: self.downloader.clock.now(),
        };
        if may_give_up(&attempt) {
            self.downloader.discard_upload(self.claimed).await;
        }
        match self.settle_with_retry(&attempt).await {
            Ok(Settlement::GoAhead) => AttemptEnd::StillClaimed,
            Ok(settlement) => {
                self.log(&settlement, attempt.ended_at);
                self.count(&settlement, attempt.ended_at);
                AttemptEnd::Settled
            }
            Err(LeaseError::Lost) => {
                self.report_lost_lease();
                AttemptEnd::Settled
            }
            // The lease expires, and the download is done once more.
            Err(LeaseError::Database(_)) => AttemptEnd::Settled,
        }
    }

    /// Settles as soon as the database can be reached, or gives up at a stop's deadline.
    async fn settle_with_retry(&self, attempt: &AttemptReport) -> Result<Settlement, LeaseError> {
        let Downloader { settler, database, .. } = self.downloader;
        loop {
            let settled = settler.settle(database, &self.claimed.lease, attempt.clone()).await;
            match settled {
                Err(LeaseError::Database(
                    DatabaseError::Unreachable | DatabaseError::TimedOut | DatabaseError::Conflict,
                )) => {
                    let wait = self.deadline.run_until_cancelled(tokio::time::sleep(SETTLE_RETRY));
                    if wait.await.is_none() {
                        return settled;
                    }
                }
                Ok(_) | Err(LeaseError::Lost | LeaseError::Database(DatabaseError::Refused(_))) => return settled,
            }
        }
    }

    fn count(&self, settlement: &Settlement, ended_at: DateTime<Utc>) {
        if let Some(outcome) = AttemptLabel::of(settlement) {
            ATTEMPTS.add((outcome,), 1);
        }
        if let Settlement::Stored(_) = settlement {
            DOWNLOAD_DURATION.observe((), (ended_at - self.started_at).as_seconds_f64().max(0.0));
        }
    }

    fn log(&self, settlement: &Settlement, ended_at: DateTime<Utc>) {
        let ClaimedDownload { lease, attempt, key, .. } = self.claimed;
        let (id, index) = (lease.render_id(), lease.index());
        let duration_ms = (ended_at - self.started_at).num_milliseconds();
        match settlement {
            Settlement::Stored(object) => info!(
                event = %LogEvent::DownloadStored, render.id = %id, download.index = index, attempt, duration_ms,
                size_bytes = object.size_bytes, object.key = %key, "stored a file"
            ),
            Settlement::AwaitUrl { reason, .. } => info!(
                event = %LogEvent::DownloadAwaitsUrl, render.id = %id, download.index = index, attempt, duration_ms,
                error = reason.code, "a download waits for a fresh URL: {}", reason.message
            ),
            Settlement::TryNewUrl { reason } => warn!(
                event = %LogEvent::DownloadRetried, render.id = %id, download.index = index, attempt, duration_ms,
                error = reason.code, next_attempt_at = %ended_at,
                "an attempt failed, and a fresh URL has arrived meanwhile: {}", reason.message
            ),
            Settlement::Retry { reason, due_at } => warn!(
                event = %LogEvent::DownloadRetried, render.id = %id, download.index = index, attempt, duration_ms,
                error = reason.code, next_attempt_at = %due_at, "an attempt failed: {}", reason.message
            ),
            Settlement::Postpone { reason, due_at } => error!(
                event = %LogEvent::DownloadPostponed, render.id = %id, download.index = index, attempt, duration_ms,
                error = reason.code, next_attempt_at = %due_at, "{}", reason.message
            ),
            Settlement::GiveUp { attempts, reason } => error!(
                event = %LogEvent::DownloadFailed, render.id = %id, download.index = index, attempt = attempts, duration_ms,
                error = reason.code, "a file is not stored, and it is not tried again by itself: {}", reason.message
            ),
            Settlement::Release => info!(
                event = %LogEvent::DownloadReleased, render.id = %id, download.index = index, attempt, duration_ms,
                "the service stops, and gave a download back"
            ),
            Settlement::GoAhead => {}
        }
    }

    /// Logs and counts that another worker has the download.
    pub(super) fn report_lost_lease(&self) {
        let ClaimedDownload { lease, attempt, .. } = self.claimed;
        let duration_ms = (self.downloader.clock.now() - self.started_at).num_milliseconds();
        warn!(
            event = %LogEvent::DownloadLeaseLost, render.id = %lease.render_id(), download.index = lease.index(), attempt,
            duration_ms, "another worker has this download now"
        );
        ATTEMPTS.add((AttemptLabel::LeaseLost,), 1);
    }
}
