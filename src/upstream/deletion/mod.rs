//! `DELETE_AFTER_STORE`: deletes a project at Magic Hour once all its files are stored and verified.
//!
//! A deletion cannot be undone, so there are four checks: all files of the render are stored; each object is read back and
//! matches its recorded hash; Magic Hour lists no other file; and right before the call, under the render's lock, the
//! files are still the ones that were verified.
//!
//! Guaranteed: a project is only deleted if all its files are verified; a project that the account that owns it no longer
//! knows counts as deleted, one that no account knows does not; a template is not deleted; a failed deletion is retried with exponential backoff and does not delay others.

mod attempt;
mod files;
mod queue;

use std::time::Duration;

pub use self::queue::DeletionOutcome;
use super::accounts::ProjectFinder;
use crate::archive::Store;
use crate::intake::Recorder;
use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database, Shutdown};

/// How often this process looks for projects to delete.
const IDLE_INTERVAL: Duration = Duration::from_secs(5);

/// Deletes projects.
#[derive(Debug)]
pub struct Deleter {
    /// The database.
    pub database: Database,
    /// Records the answers of the details API.
    pub recorder: Recorder,
    /// Asks Magic Hour for projects.
    pub finder: ProjectFinder,
    /// The store.
    pub store: Store,
    /// The clock.
    pub clock: Clock,
}

impl Deleter {
    /// Deletes projects until the service stops.
    pub async fn run(&self, shutdown: &Shutdown) {
        while !shutdown.is_stopping() {
            let pause = match shutdown.forced().run_until_cancelled(Box::pin(self.step())).await {
                Some(true) => continue,
                Some(false) => IDLE_INTERVAL,
                None => return,
            };
            shutdown.sleep(pause).await;
        }
    }

    /// Processes one project. Returns whether there was one.
    async fn step(&self) -> bool {
        let (pool, now) = (self.database.pool(), self.clock.now());
        let Ok(Some(claim)) =
            self.database.with_timeout(BACKGROUND_TIMEOUT, queue::claim(pool, &self.finder, now)).await
        else {
            return false;
        };
        self.process(claim).await.is_ok()
    }
}
