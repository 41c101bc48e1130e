//! Polling: Magic Hour's details API is asked for what no webhook brought.
//!
//! What is due stands in the rows of `renders`: unfinished renders that have been silent for a while, and renders about
//! which something waits for an answer (an application announced one, a delivery was stale, two events contradict each
//! other, a URL has expired). One [`Reconciler`] per process claims them one by one and records the answers like any other
//! observation.
//!
//! Guaranteed:
//! - No render is polled by two processes at once, and all processes together keep to one rate.
//! - One render whose calls fail holds up no other: it is repeated at gaps of its own. Trouble of the account or the API
//!   pauses all calls, is logged once, and fails no render and no file.
//! - An answer moves a render by the same rules as a webhook, so one that lags behind moves nothing back.

mod due;
mod poll;
pub(super) mod schedule;
mod settlement;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::schedule::Schedule;
use super::client::MagicHour;
use super::throttle::Throttle;
use crate::intake::record::Recorder;
use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database, DatabaseError, Shutdown, Wakeups};

/// How often this process looks for due renders, unless a notification wakes it.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often it looks for renders that a wrong clock has stranded.
const STRANDED_INTERVAL: Duration = Duration::from_mins(1);
/// How many polls this process makes at once: a slow API slows polling down and does not pile polls up.
const MAX_POLLS_AT_ONCE: usize = 16;

/// Polls Magic Hour.
#[derive(Debug)]
pub struct Reconciler {
    /// Has the renders, and when each is due.
    pub database: Database,
    /// Records the answers.
    pub recorder: Recorder,
    /// The API.
    pub magic_hour: MagicHour,
    /// Says when the API may be called.
    pub throttle: Throttle,
    /// The time.
    pub clock: Clock,
    /// When a render is polled.
    pub schedule: Schedule,
    /// Wakes it when something waits for an answer.
    pub wakeups: Arc<Wakeups>,
}

/// What a process has done about polls that it may have missed.
#[derive(Debug, Default)]
struct CaughtUp {
    /// How often the database had been lost when all unfinished renders were last made due; `None` before the first time.
    losses: Option<u64>,
    /// When stranded renders were last looked for, by the service's clock.
    stranded_at: Option<DateTime<Utc>>,
}

/// What a look for work came to.
enum Look {
    Polls,
    NothingDue,
}

impl Reconciler {
    /// Polls until the service stops.
    pub async fn run(self: Arc<Self>, shutdown: &Shutdown) {
        let permits = Arc::new(Semaphore::new(MAX_POLLS_AT_ONCE));
        let mut caught_up = CaughtUp::default();
        while !shutdown.is_stopping() {
            tokio::select! {
                () = shutdown.wait_for_stop() => {}
                Ok(permit) = permits.clone().acquire_owned() => match self.look(permit, &mut caught_up, shutdown).await {
                    Ok(Look::Polls) => rest(self.throttle.gap(), shutdown).await,
                    // The database logs its own trouble.
                    Ok(Look::NothingDue) | Err(_) => tokio::select! {
                        () = self.wakeups.wait_for_polls() => {}
                        () = rest(LOOK_INTERVAL, shutdown) => {}
                    },
                },
            }
        }
    }

    /// Claims the render that is due first, if it is our turn, and polls it beside this loop.
    async fn look(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        caught_up: &mut CaughtUp,
        shutdown: &Shutdown,
    ) -> Result<Look, DatabaseError> {
        self.catch_up(caught_up).await?;
        let asked_at = self.clock.now();
        let claim = due::claim(self.database.pool(), &self.throttle, &self.schedule, asked_at);
        let Some(claim) = self.database.with_timeout(BACKGROUND_TIMEOUT, claim).await? else {
            return Ok(Look::NothingDue);
        };
        let (reconciler, stop) = (self.clone(), shutdown.forced().clone());
        shutdown.tasks().spawn(async move {
            // A poll that is cut off at the end of the process is repeated when its claim runs out.
            stop.run_until_cancelled(Box::pin(reconciler.poll(&claim, asked_at))).await;
            drop(permit);
        });
        Ok(Look::Polls)
    }

    /// While no process was running, or the database was lost, webhooks were refused: whatever is unfinished is due then.
    async fn catch_up(&self, caught_up: &mut CaughtUp) -> Result<(), DatabaseError> {
        let (pool, now) = (self.database.pool(), self.clock.now());
        if caught_up.losses.is_none() {
            self.throttle.record_start().await?;
        }
        let losses = self.database.outage_count();
        if caught_up.losses != Some(losses) {
            self.database.with_timeout(BACKGROUND_TIMEOUT, due::make_all_due(pool, now)).await?;
            caught_up.losses = Some(losses);
        }
        // At once if the clock was set back: what was written before may be stranded.
        if caught_up.stranded_at.is_none_or(|at| now < at || now >= at + STRANDED_INTERVAL) {
            self.database.with_timeout(BACKGROUND_TIMEOUT, due::make_stranded_due(pool, &self.schedule, now)).await?;
            caught_up.stranded_at = Some(now);
        }
        Ok(())
    }
}

async fn rest(time: Duration, shutdown: &Shutdown) {
    tokio::select! {
        () = shutdown.wait_for_stop() => {}
        () = tokio::time::sleep(time) => {}
    }
}
