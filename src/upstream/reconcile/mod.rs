//! The truth that no webhook tells: Magic Hour's details call is asked.
//!
//! What is due stands in the rows of `renders`: unfinished renders about which nothing was heard for a while, and renders
//! about which somebody wants to know something: a person has tracked one, a delivery was stale, two words contradict each
//! other, a file has no URL that works. One [`Reconciler`] a process takes them, one after the other, and records the answers
//! like any other word. Guaranteed: no render is asked for by two processes at once; all processes together keep to one
//! rate; trouble of the account or the API pauses them all, is told once, and fails no render and no file; an answer moves
//! a render by the same rules as a webhook, so that one that is behind moves nothing back.

mod due;
pub(super) mod schedule;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, info, warn};

use self::due::{Answered, Taken};
use self::schedule::Schedule;
use crate::intake::record::{self, Observation, Recorder};
use crate::runtime::Clock;
use crate::runtime::LogEvent;
use crate::runtime::Shutdown;
use crate::runtime::Wakeups;
use crate::runtime::{BACKGROUND, Database, DatabaseError};
use crate::upstream::client::MagicHour;
use crate::upstream::error::{Scope, UpstreamError};
use crate::upstream::throttle;

/// How often it is looked for what is due, unless somebody calls.
const LOOK: Duration = Duration::from_secs(1);
/// Questions at once in this process: a slow API holds the asking up rather than pile it up.
const MOST_AT_ONCE: usize = 16;

/// Asks Magic Hour what no webhook told.
#[derive(Debug)]
pub struct Reconciler {
    /// Where it stands what is due.
    pub database: Database,
    /// What records the answers.
    pub recorder: Recorder,
    /// Who is asked.
    pub magic_hour: MagicHour,
    /// What time it is.
    pub clock: Clock,
    /// When a render is asked for.
    pub schedule: Schedule,
    /// The shortest time between two questions of all processes together.
    pub gap: Duration,
    /// What wakes it.
    pub wakeups: Arc<Wakeups>,
}

/// What a look for work came to.
enum Look {
    Asked,
    Nothing,
}

impl Reconciler {
    /// Works until it is time to stop.
    pub async fn run(self: Arc<Self>, shutdown: &Shutdown) {
        let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
        let mut caught_up = None;
        while !shutdown.is_stopping() {
            tokio::select! {
                () = shutdown.stopping() => {}
                Ok(place) = places.clone().acquire_owned() => match self.look(place, &mut caught_up, shutdown).await {
                    Look::Asked => rest(self.gap, shutdown).await,
                    Look::Nothing => tokio::select! {
                        () = self.wakeups.polls() => {}
                        () = rest(LOOK, shutdown) => {}
                    },
                },
            }
        }
    }

    /// Takes what is due first, if it is our turn, and asks beside this loop. `caught_up` is how often the database had been
    /// lost when everything was last put up.
    async fn look(
        self: &Arc<Self>,
        place: OwnedSemaphorePermit,
        caught_up: &mut Option<u64>,
        shutdown: &Shutdown,
    ) -> Look {
        let now = self.clock.now();
        // While no process was there, or had no database, webhooks were refused: what is unfinished is asked for soon.
        let losses = self.database.losses();
        if *caught_up != Some(losses) {
            if self.catch_up(now).await.is_err() {
                return Look::Nothing;
            }
            *caught_up = Some(losses);
        }
        let taken = due::take(self.database.pool(), now, &self.schedule, self.gap);
        match self.database.within(BACKGROUND, taken).await {
            Ok(None) | Err(_) => Look::Nothing,
            Ok(Some(taken)) => {
                let (reconciler, stop) = (self.clone(), shutdown.deadline().clone());
                shutdown.tasks().spawn(async move {
                    // What is not answered before the end is asked for again when the claim runs out.
                    stop.run_until_cancelled(Box::pin(reconciler.ask(&taken, now))).await;
                    drop(place);
                });
                Look::Asked
            }
        }
    }

    async fn catch_up(&self, now: DateTime<Utc>) -> Result<(), DatabaseError> {
        let pool = self.database.pool();
        self.database.within(BACKGROUND, due::catch_up(pool, now)).await?;
        // The API may be well again, or the key another one.
        self.database.within(BACKGROUND, throttle::resume(pool)).await.map(drop)
    }

    async fn ask(&self, taken: &Taken, asked_at: DateTime<Utc>) {
        debug!(event = %LogEvent::PollAsked, render.id = %taken.id, render.kind = %taken.kind, "asking Magic Hour about a render");
        let answered = match self.magic_hour.details(taken.kind, &taken.id).await {
            Ok(payload) => {
                let word = Observation::poll(taken.kind, payload, asked_at);
                let Some(moved) = self.record(taken, word).await else { return };
                self.well(taken).await;
                Answered { moved, found: Some(true) }
            }
            Err(error) if error.scope() != Scope::Render => {
                // What is not put back is asked for again when the claim runs out.
                let _ = self.database.within(BACKGROUND, due::put_back(self.database.pool(), taken, asked_at)).await;
                return throttle::pause(&self.database, asked_at, self.clock.now(), &error).await;
            }
            Err(UpstreamError::NotFound | UpstreamError::InvalidId) => {
                self.well(taken).await;
                say_not_found(taken);
                Answered { moved: false, found: Some(false) }
            }
            Err(trouble) => {
                warn!(event = %LogEvent::PollRefused, render.id = %taken.id, render.kind = %taken.kind, error = %trouble, "no answer about this render");
                Answered { moved: false, found: None }
            }
        };
        let settled =
            due::settle(self.database.pool(), taken, answered, &self.schedule, rand::random(), self.clock.now());
        // What cannot be settled now is asked for again when the claim runs out.
        let _ = self.database.within(BACKGROUND, settled).await;
    }

    /// Records what the details call told, and says whether the render moved; `None` where the database took it not.
    async fn record(&self, taken: &Taken, observation: Observation) -> Option<bool> {
        let (observation, recorded) = self.recorder.record(observation).await.ok()?;
        if recorded.news {
            info!(
                event = %LogEvent::PollAnswered, render.id = %taken.id, render.kind = %taken.kind,
                downloads.queued = recorded.queued, "Magic Hour told news of a render"
            );
        } else {
            debug!(event = %LogEvent::PollAnswered, render.id = %taken.id, render.kind = %taken.kind, "Magic Hour told no news of a render");
        }
        record::log_recorded(&observation, &recorded);
        if taken.wanted && recorded.queued > 0 {
            info!(event = %LogEvent::DownloadRenewed, render.id = %taken.id, downloads.queued = recorded.queued, "fresh URLs came");
        }
        Some(recorded.moved.is_some())
    }

    async fn well(&self, taken: &Taken) {
        if taken.after_refusals {
            throttle::well(&self.database).await;
        }
    }
}

fn say_not_found(taken: &Taken) {
    if taken.known_as_not_found {
        debug!(event = %LogEvent::PollRefused, render.id = %taken.id, error = "http_404", "Magic Hour still does not know the render");
    } else {
        warn!(
            event = %LogEvent::PollRefused, render.id = %taken.id, render.kind = %taken.kind, error = "http_404",
            "{}: it is asked for ever more rarely", UpstreamError::NotFound
        );
    }
}

async fn rest(time: Duration, shutdown: &Shutdown) {
    tokio::select! {
        () = shutdown.stopping() => {}
        () = tokio::time::sleep(time) => {}
    }
}
