//! Carries out requested erasures.

use chrono::{DateTime, Utc};
use futures::future::join_all;
use tracing::{info, warn};

use super::queue::{self, ErasureClaim};
use super::{objects, upstream};
use crate::archive::Store;
use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database, DatabaseError, LogEvent, Shutdown};
use crate::upstream::{DeletionOutcome, ProjectDeleter, ProjectDeletion};

/// How often this process looks for erasures.
const IDLE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);
/// How many renders a process erases at once.
const CONCURRENCY: usize = 4;

/// Erases renders.
#[derive(Debug)]
pub struct Eraser {
    /// The database.
    pub database: Database,
    /// The store.
    pub store: Store,
    /// Deletes projects, if there is an API key.
    pub projects: Option<ProjectDeleter>,
    /// The clock.
    pub clock: Clock,
}

/// What is left to do after an attempt.
enum Remaining {
    Nothing,
    /// The objects are deleted again at this time.
    Sweep(DateTime<Utc>),
    /// It failed, and is tried again.
    Retry,
}

impl Eraser {
    /// Erases until the service stops.
    pub async fn run(&self, shutdown: &Shutdown) {
        while !shutdown.is_stopping() {
            match shutdown.forced().run_until_cancelled(Box::pin(self.attempt_several())).await {
                Some(true) => {}
                Some(false) => shutdown.sleep(IDLE_INTERVAL).await,
                None => return,
            }
        }
    }

    /// Attempts several erasures at once. Returns whether any was due. If none is, it asks the database only once.
    async fn attempt_several(&self) -> bool {
        if !self.step().await {
            return false;
        }
        join_all((1..CONCURRENCY).map(|_| self.step())).await;
        true
    }

    /// Makes one attempt at the erasure that is due the longest. Returns whether there was one.
    pub async fn step(&self) -> bool {
        let (pool, now) = (self.database.pool(), self.clock.now());
        let Ok(Some(claim)) = self.database.with_timeout(BACKGROUND_TIMEOUT, queue::claim(pool, now)).await else {
            return false;
        };
        // OK to ignore: database errors are already logged, and the lease ends.
        let _ = self.process(&claim, now).await;
        true
    }

    async fn process(&self, claim: &ErasureClaim, now: DateTime<Utc>) -> Result<(), DatabaseError> {
        let local = if claim.is_local_done { Remaining::Nothing } else { self.erase_objects(claim, now).await? };
        let project = if claim.upstream { self.delete_project(claim).await? } else { Remaining::Nothing };
        let pool = self.database.pool();
        match (local, project) {
            (Remaining::Nothing, Remaining::Nothing) => {
                info!(event = %LogEvent::ErasureCompleted, render.id = %claim.id, "a render is erased");
                self.database.with_timeout(BACKGROUND_TIMEOUT, queue::finish(pool, claim, self.clock.now())).await
            }
            (Remaining::Sweep(at), Remaining::Nothing | Remaining::Sweep(_)) => {
                self.database.with_timeout(BACKGROUND_TIMEOUT, queue::postpone(pool, claim, at, false)).await
            }
            (Remaining::Sweep(_), Remaining::Retry) | (Remaining::Retry | Remaining::Nothing, _) => {
                let at = self.clock.now() + claim.retry_delay(rand::random());
                self.database.with_timeout(BACKGROUND_TIMEOUT, queue::postpone(pool, claim, at, true)).await
            }
        }
    }

    /// Deletes the objects, and forgets them once none can appear any more.
    async fn erase_objects(&self, claim: &ErasureClaim, now: DateTime<Utc>) -> Result<Remaining, DatabaseError> {
        let pool = self.database.pool();
        let files = self.database.with_timeout(BACKGROUND_TIMEOUT, queue::files(pool, &claim.id)).await?;
        if let Err(error) = objects::delete_all(&self.store, files).await {
            warn!(
                event = %LogEvent::ErasurePostponed, render.id = %claim.id, error = %error,
                "the objects of a render cannot be deleted yet: retrying with backoff"
            );
            return Ok(Remaining::Retry);
        }
        match claim.sweep_at {
            Some(at) if at > now => Ok(Remaining::Sweep(at)),
            _ => {
                let finished = queue::finish_local(pool, claim, self.clock.now());
                let finished = self.database.with_timeout(BACKGROUND_TIMEOUT, finished).await?;
                Ok(if finished { Remaining::Nothing } else { Remaining::Retry })
            }
        }
    }

    async fn delete_project(&self, claim: &ErasureClaim) -> Result<Remaining, DatabaseError> {
        let outcome = match upstream::delete(self.projects.as_ref(), claim).await {
            ProjectDeletion::Deleted => DeletionOutcome::Deleted,
            ProjectDeletion::Refused => {
                warn!(
                    event = %LogEvent::DeletionRefused, render.id = %claim.id, render.kind = %claim.kind,
                    "Magic Hour refuses to delete the project"
                );
                DeletionOutcome::Refused
            }
            ProjectDeletion::Postponed(why) => {
                warn!(
                    event = %LogEvent::ErasurePostponed, render.id = %claim.id, error = why,
                    "the project of an erased render is not deleted at Magic Hour yet: retrying with backoff"
                );
                return Ok(Remaining::Retry);
            }
        };
        let saved = queue::save_deletion(self.database.pool(), claim, outcome);
        self.database.with_timeout(BACKGROUND_TIMEOUT, saved).await?;
        Ok(Remaining::Nothing)
    }
}
