//! What follows from a transfer's end: one row settled, one line logged.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Downloader;
use super::transfer::Ended;
use crate::archive::backoff;
use crate::archive::fetch::Failure;
use crate::archive::queue::{self, Claimed, LeaseLost, Reason, Stored};
use crate::archive::renewal::{self, Wish};
use crate::runtime::LogEvent;
use crate::runtime::{BACKGROUND, DatabaseError};

/// How long to wait before telling the database again what it did not take.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);

/// What becomes of the row.
enum Settlement {
    Stored(Stored),
    /// It waits for a fresh URL.
    Wait(Reason),
    Retry {
        reason: Reason,
        due_at: DateTime<Utc>,
    },
    GiveUp {
        attempts: u32,
        reason: Reason,
    },
    GiveBack,
    LeaseLost,
}

/// What the database made of it.
enum Settled {
    Done,
    InVain,
}

/// A transfer that ended, and what is needed to settle it.
pub(super) struct Settling<'a> {
    pub(super) downloader: &'a Downloader,
    pub(super) claimed: &'a Claimed,
    pub(super) begun: DateTime<Utc>,
    /// When nobody waits any longer for a database that is away.
    pub(super) deadline: &'a CancellationToken,
}

impl Settling<'_> {
    pub(super) async fn settle(&self, ended: Ended) {
        let now = self.downloader.clock.now();
        let mut settlement = match ended {
            Ended::Stored(object) => Settlement::Stored(object),
            Ended::Failed(failure) | Ended::Spoiled(failure) => self.follow(failure, now),
            Ended::Stopped => Settlement::GiveBack,
            Ended::WornOut => self.worn_out(),
            Ended::LeaseLost => Settlement::LeaseLost,
        };
        loop {
            match (self.insist(&settlement, now).await, settlement) {
                (Some(Ok(Settled::Done)), settlement) => return self.say(&settlement, now),
                // There is no fresher URL to wait for: a failure like any other.
                (Some(Ok(Settled::InVain)), Settlement::Wait(reason)) => settlement = self.again(reason, None, now),
                (Some(Err(LeaseLost)), _) => return self.say(&Settlement::LeaseLost, now),
                // The lease runs out, and the download is done once more.
                (Some(Ok(Settled::InVain)) | None, _) => return,
            }
        }
    }

    /// What a failed attempt leads to.
    fn follow(&self, failure: Failure, now: DateTime<Utc>) -> Settlement {
        match failure {
            Failure::Permanent { reason } => Settlement::GiveUp { attempts: self.claimed.attempt, reason },
            Failure::Expired { reason } if self.downloader.renews => Settlement::Wait(reason),
            Failure::Expired { reason: Reason { code, message } } => {
                let message = format!("{message}; set MAGIC_HOUR_API_KEY, and a fresh one is asked for");
                self.again(Reason { code, message }, None, now)
            }
            Failure::Transient { reason, after } => self.again(reason, after, now),
        }
    }

    /// Another attempt, unless this was the last.
    fn again(&self, reason: Reason, after: Option<Duration>, now: DateTime<Utc>) -> Settlement {
        let Claimed { attempt, .. } = self.claimed;
        if *attempt >= self.downloader.max_attempts {
            return self.give_up(*attempt, reason);
        }
        let gap = backoff::after_attempt(*attempt, rand::random());
        Settlement::Retry { reason, due_at: now + gap.max(after.unwrap_or_default()) }
    }

    /// No attempt was the last to fail in order: each may have taken its worker with it.
    fn worn_out(&self) -> Settlement {
        let message = "its lease ran out: the worker died, or lost the database for long".to_owned();
        self.give_up(self.claimed.attempt - 1, Reason { code: "lease_ran_out".to_owned(), message })
    }

    /// The end of all attempts, with the whole story.
    fn give_up(&self, attempts: u32, last: Reason) -> Settlement {
        let since = self.claimed.first_attempt_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let message = format!("gave up after {attempts} attempts since {since}; the last: {}", last.message);
        Settlement::GiveUp { attempts, reason: Reason { code: last.code, message } }
    }

    /// Tells the database until it listens or refuses, or until a stop's deadline.
    async fn insist(&self, settlement: &Settlement, now: DateTime<Utc>) -> Option<Result<Settled, LeaseLost>> {
        loop {
            match self.downloader.database.within(BACKGROUND, self.tell(settlement, now)).await {
                Ok(settled) => return Some(settled),
                Err(DatabaseError::Refused(_)) => return None,
                Err(DatabaseError::Unreachable | DatabaseError::TimedOut | DatabaseError::Conflict) => {
                    self.deadline.run_until_cancelled(tokio::time::sleep(SETTLE_AGAIN)).await?;
                }
            }
        }
    }

    async fn tell(&self, settlement: &Settlement, now: DateTime<Utc>) -> sqlx::Result<Result<Settled, LeaseLost>> {
        let (pool, lease) = (self.downloader.database.pool(), &self.claimed.lease);
        let done = match settlement {
            Settlement::Stored(object) => queue::stored(pool, lease, object, self.downloader.deletes, now).await?,
            Settlement::Wait(reason) => {
                let Ok(url) = &self.claimed.url else { return Ok(Ok(Settled::InVain)) };
                let wish = renewal::want(pool, lease, url, reason, now).await?;
                return Ok(wish.map(|wish| if wish == Wish::InVain { Settled::InVain } else { Settled::Done }));
            }
            Settlement::Retry { reason, due_at } => queue::retry(pool, lease, reason, *due_at, now).await?,
            Settlement::GiveUp { attempts, reason } => {
                self.downloader.discard(self.claimed).await;
                queue::failed(pool, lease, *attempts, reason, now).await?
            }
            Settlement::GiveBack => queue::release(pool, lease, now).await?,
            Settlement::LeaseLost => Err(LeaseLost),
        };
        Ok(done.map(|()| Settled::Done))
    }

    fn say(&self, settlement: &Settlement, now: DateTime<Utc>) {
        let Claimed { lease, attempt, key, .. } = self.claimed;
        let (id, index, duration_ms) = (lease.render_id(), lease.index(), (now - self.begun).num_milliseconds());
        match settlement {
            Settlement::Stored(object) => info!(
                event = %LogEvent::DownloadStored, render.id = %id, download.index = index, attempt, duration_ms,
                size_bytes = object.size_bytes, object.key = %key, "stored a file"
            ),
            Settlement::Wait(reason) => info!(
                event = %LogEvent::DownloadRetried, render.id = %id, download.index = index, attempt, duration_ms,
                error = reason.code, "a download waits for a fresh URL: {}", reason.message
            ),
            Settlement::Retry { reason, due_at } => warn!(
                event = %LogEvent::DownloadRetried, render.id = %id, download.index = index, attempt, duration_ms,
                error = reason.code, next_attempt_at = %due_at, "a download will be tried again: {}", reason.message
            ),
            Settlement::GiveUp { attempts, reason } => error!(
                event = %LogEvent::DownloadFailed, render.id = %id, download.index = index, attempt = attempts, duration_ms,
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
}
