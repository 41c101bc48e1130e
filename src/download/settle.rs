//! What follows from a transfer's end: one row settled, one line logged.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Downloader;
use super::transfer::Ended;
use crate::backoff;
use crate::database::{BACKGROUND, DatabaseError};
use crate::fetch::Failure;
use crate::log::LogEvent;
use crate::queue::{self, Claimed, LeaseLost, Reason, Stored};

/// How long to wait before telling the database again what it did not take.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);

enum Settlement {
    Stored(Stored),
    Retry { reason: Reason, due_at: DateTime<Utc> },
    GiveUp(Reason),
    GiveBack,
    LeaseLost,
}

pub(super) async fn settle(
    downloader: &Downloader,
    claimed: &Claimed,
    ended: Ended,
    begun: DateTime<Utc>,
    stop: &CancellationToken,
) {
    let now = downloader.clock.now();
    let settlement = match ended {
        Ended::Stored(object) => Settlement::Stored(object),
        Ended::Failed(failure) => follow(claimed, failure, downloader.max_attempts, now),
        Ended::Stopped => Settlement::GiveBack,
        Ended::LeaseLost => Settlement::LeaseLost,
    };
    match insist(downloader, claimed, &settlement, now, stop).await {
        Some(Ok(())) => say(claimed, &settlement, (now - begun).num_milliseconds()),
        Some(Err(LeaseLost)) => say(claimed, &Settlement::LeaseLost, (now - begun).num_milliseconds()),
        // The lease runs out, and the download is done once more.
        None => {}
    }
}

/// What a failed attempt leads to.
fn follow(claimed: &Claimed, failure: Failure, max_attempts: u32, now: DateTime<Utc>) -> Settlement {
    match failure {
        Failure::Permanent { reason } => Settlement::GiveUp(reason),
        Failure::Transient { reason, .. } if claimed.attempt >= max_attempts => {
            let since = claimed.first_attempt_at.to_rfc3339_opts(SecondsFormat::Secs, true);
            let told =
                format!("gave up after {} attempts since {since}; the last: {}", claimed.attempt, reason.message);
            Settlement::GiveUp(Reason { code: reason.code, message: told })
        }
        Failure::Transient { reason, after } => {
            let gap = backoff::after_attempt(claimed.attempt, rand::random());
            Settlement::Retry { reason, due_at: now + gap.max(after.unwrap_or_default()) }
        }
    }
}

/// Tells the database until it listens or refuses. While stopping, it is told once more and no further.
async fn insist(
    downloader: &Downloader,
    claimed: &Claimed,
    settlement: &Settlement,
    now: DateTime<Utc>,
    stop: &CancellationToken,
) -> Option<Result<(), LeaseLost>> {
    let (pool, lease) = (downloader.database.pool(), &claimed.lease);
    loop {
        let told = async {
            match settlement {
                Settlement::Stored(object) => queue::stored(pool, lease, object, now).await,
                Settlement::Retry { reason, due_at } => queue::retry(pool, lease, reason, *due_at, now).await,
                Settlement::GiveUp(reason) => queue::failed(pool, lease, reason, now).await,
                Settlement::GiveBack => queue::release(pool, lease, now).await,
                Settlement::LeaseLost => Ok(Err(LeaseLost)),
            }
        };
        match downloader.database.within(BACKGROUND, told).await {
            Ok(settled) => return Some(settled),
            Err(DatabaseError::Refused(cause)) => {
                error!(
                    event = %LogEvent::DownloadRetried,
                    render.id = %lease.render_id(),
                    download.index = lease.index(),
                    error = %cause,
                    "the database refused to settle a download: it will be done again when its lease ends"
                );
                return None;
            }
            Err(DatabaseError::Away) => stop.run_until_cancelled(tokio::time::sleep(SETTLE_AGAIN)).await?,
        }
    }
}

fn say(claimed: &Claimed, settlement: &Settlement, duration_ms: i64) {
    let (id, index, attempt) = (claimed.lease.render_id(), claimed.lease.index(), claimed.attempt);
    match settlement {
        Settlement::Stored(object) => info!(
            event = %LogEvent::DownloadStored, render.id = %id, download.index = index, attempt, duration_ms,
            size_bytes = object.size_bytes, object.key = %claimed.key, "stored a file"
        ),
        Settlement::Retry { reason, due_at } => warn!(
            event = %LogEvent::DownloadRetried, render.id = %id, download.index = index, attempt, duration_ms,
            error = reason.code, next_attempt_at = %due_at, "a download will be tried again: {}", reason.message
        ),
        Settlement::GiveUp(reason) => error!(
            event = %LogEvent::DownloadFailed, render.id = %id, download.index = index, attempt, duration_ms,
            error = reason.code, "a file is not stored and will not be tried again by itself: {}", reason.message
        ),
        Settlement::GiveBack => info!(
            event = %LogEvent::DownloadRetried, render.id = %id, download.index = index, attempt, duration_ms,
            error = "stopping", "gave a download back"
        ),
        Settlement::LeaseLost => warn!(
            event = %LogEvent::DownloadRetried, render.id = %id, download.index = index, attempt, duration_ms,
            error = "lease_lost", "another worker has this download now"
        ),
    }
}
