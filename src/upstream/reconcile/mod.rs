//! Polls Magic Hour's details API for what no webhook reports.
//!
//! Unfinished renders are polled after some time without a webhook. Renders are polled at once if a poll is requested: an
//! application announced the render, a delivery was stale, two events contradict each other, or a URL has expired. Each
//! process runs one [`Reconciler`], which claims due renders one by one and records the answers like any other
//! observation.
//!
//! Guaranteed:
//! - No render is polled by two processes at once, and all processes together respect one rate limit.
//! - A render whose polls fail does not delay others: it has its own backoff. A failure of an account or the API pauses
//!   the account's calls, is logged once, and fails no render and no file. Renders of other accounts are polled meanwhile.
//! - An answer changes a render by the same rules as a webhook, so an outdated answer reverts nothing.

mod poll;
mod queue;
mod schedule;
mod settlement;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{Instrument, error_span};

pub use self::queue::first_due_poll;
pub use self::schedule::Schedule;
pub(super) use self::settlement::PollOutcome;
use super::accounts::ProjectFinder;
use crate::feed::PostedTypes;
use crate::intake::Recorder;
use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database, DatabaseError, Shutdown, Wakeups};

/// How often this process looks for due renders without a notification.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// How often it looks for renders with implausible times from a wrong clock.
const STRANDED_INTERVAL: Duration = Duration::from_mins(1);
/// The maximum number of concurrent polls of this process. If the API is slow, polling slows down.
const MAX_CONCURRENT_POLLS: usize = 16;

/// Polls Magic Hour.
#[derive(Debug)]
pub struct Reconciler {
    /// The database.
    pub database: Database,
    /// Records the answers.
    pub recorder: Recorder,
    /// Asks Magic Hour for projects.
    pub finder: ProjectFinder,
    /// The clock.
    pub clock: Clock,
    /// When renders are polled.
    pub schedule: Schedule,
    /// The types of notifications that are posted.
    pub posted: PostedTypes,
    /// Wakes the reconciler when a poll is requested.
    pub wakeups: Arc<Wakeups>,
}

/// When this process last looked for missed polls.
#[derive(Debug, Default)]
struct CatchUp {
    /// The number of outages when all unfinished renders were last made due; `None` before the first time.
    outages: Option<u64>,
    /// When renders with implausible times were last made due.
    stranded_checked_at: Option<DateTime<Utc>>,
}

/// The result of looking for a due render.
enum ClaimResult {
    PollStarted,
    NothingDue,
}

impl Reconciler {
    /// Polls until the service stops.
    pub async fn run(self: Arc<Self>, shutdown: &Shutdown) {
        let permits = Arc::new(Semaphore::new(MAX_CONCURRENT_POLLS));
        let mut catch_up = CatchUp::default();
        while !shutdown.is_stopping() {
            tokio::select! {
                () = shutdown.wait_for_stop() => {}
                Ok(permit) = permits.clone().acquire_owned() => match self.step(permit, &mut catch_up, shutdown).await {
                    Ok(ClaimResult::PollStarted) => shutdown.sleep(self.finder.throttle.call_interval()).await,
                    // OK to ignore: database errors are already logged.
                    Ok(ClaimResult::NothingDue) | Err(_) => tokio::select! {
                        () = self.wakeups.wait_for_polls() => {}
                        () = shutdown.sleep(IDLE_INTERVAL) => {}
                    },
                },
            }
        }
    }

    /// Claims the next due render, if the throttle allows it, and polls it in a separate task.
    async fn step(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        catch_up: &mut CatchUp,
        shutdown: &Shutdown,
    ) -> Result<ClaimResult, DatabaseError> {
        self.catch_up(catch_up).await?;
        let called_at = self.clock.now();
        let claim = queue::claim(self.database.pool(), &self.finder, &self.schedule, called_at);
        let Some(claim) = self.database.with_timeout(BACKGROUND_TIMEOUT, claim).await? else {
            return Ok(ClaimResult::NothingDue);
        };
        let (reconciler, stop) = (self.clone(), shutdown.forced().clone());
        shutdown.tasks().spawn(async move {
            // A poll that is canceled at shutdown is repeated once its claim expires.
            let span = error_span!("poll", render.id = %claim.id, render.kind = %claim.kind);
            stop.run_until_cancelled(Box::pin(reconciler.poll(&claim)).instrument(span)).await;
            drop(permit);
        });
        Ok(ClaimResult::PollStarted)
    }

    /// Makes all unfinished renders due after a start or an outage, because webhooks were not accepted in the meantime.
    async fn catch_up(&self, last: &mut CatchUp) -> Result<(), DatabaseError> {
        let (pool, now) = (self.database.pool(), self.clock.now());
        if last.outages.is_none() {
            self.finder.throttle.record_start(&self.finder.accounts).await?;
        }
        let outages = self.database.outage_count();
        if last.outages != Some(outages) {
            self.database.with_timeout(BACKGROUND_TIMEOUT, queue::make_all_due(pool, now)).await?;
            last.outages = Some(outages);
        }
        // Immediately if the clock was set back, because times written before may now be implausible.
        if last.stranded_checked_at.is_none_or(|at| now < at || now >= at + STRANDED_INTERVAL) {
            self.database.with_timeout(BACKGROUND_TIMEOUT, queue::make_stranded_due(pool, &self.schedule, now)).await?;
            last.stranded_checked_at = Some(now);
        }
        Ok(())
    }
}
