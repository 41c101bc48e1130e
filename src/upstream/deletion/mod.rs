//! `DELETE_AFTER_STORE`: a project is deleted at Magic Hour once every one of its files is stored and verified.
//!
//! A deletion cannot be undone, so it comes last and is checked four times: all files of the render are stored; each object
//! is read back and hashes to what was stored; Magic Hour lists no file that is not among them; and right before the call,
//! under the render's lock, the files are still the ones that were verified.
//!
//! Guaranteed: a project whose files are not all verified is never deleted; a project that Magic Hour does not know any more
//! counts as deleted; a template is left alone; a deletion that fails is repeated with growing gaps and holds up no other.

mod attempt;
mod files;
mod queue;

use std::time::Duration;

pub use self::queue::DeletionOutcome;
use super::client::MagicHour;
use super::throttle::Throttle;
use crate::archive::Store;
use crate::intake::record::Recorder;
use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database, Shutdown};

/// How often this process looks for projects to delete.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Deletes projects.
#[derive(Debug)]
pub struct Deleter {
    /// Has the renders and their files.
    pub database: Database,
    /// Records what the details API says.
    pub recorder: Recorder,
    /// The API.
    pub magic_hour: MagicHour,
    /// Says when the API may be called.
    pub throttle: Throttle,
    /// Has the objects.
    pub store: Store,
    /// The time.
    pub clock: Clock,
}

impl Deleter {
    /// Deletes projects until the service stops.
    pub async fn run(&self, shutdown: &Shutdown) {
        while !shutdown.is_stopping() {
            let pause = match shutdown.forced().run_until_cancelled(Box::pin(self.step())).await {
                Some(true) => continue,
                Some(false) => LOOK_INTERVAL,
                None => return,
            };
            tokio::select! {
                () = shutdown.wait_for_stop() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Deals with one project, and says whether there was one.
    async fn step(&self) -> bool {
        let (pool, now) = (self.database.pool(), self.clock.now());
        let Ok(Some(claim)) = self.database.with_timeout(BACKGROUND_TIMEOUT, queue::claim(pool, now)).await else {
            return false;
        };
        self.deal_with(claim).await.is_ok()
    }
}
