//! The worker: claims what is due and carries it, as many downloads at once as it may.
//!
//! The loop only decides when to claim; [`Downloader::carry`] is the work. A permit belongs to each download and moves
//! into its task, so that the bound holds whatever becomes of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::database::BACKGROUND;
use crate::download::Downloader;
use crate::queue;
use crate::shutdown::Shutdown;
use crate::wakeups::Wakeups;

/// How long the worker sleeps at most: what falls due without a wake-up call waits no longer than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// How long it sleeps at least, also when the next download falls due sooner or the database is away.
const SHORTEST_SLEEP: Duration = Duration::from_millis(100);

/// Works until it is time to stop. `concurrency` 0 downloads nothing.
pub async fn run(downloader: Arc<Downloader>, concurrency: usize, wakeups: &Wakeups, shutdown: &Shutdown) {
    let permits = Arc::new(Semaphore::new(concurrency));
    while !shutdown.is_stopping() {
        tokio::select! {
            () = shutdown.stopping() => {}
            free = all_free(&permits) => {
                let asked = free.len();
                let took = claim(&downloader, free, shutdown).await;
                if took < asked {
                    sleep(&downloader, wakeups, shutdown).await;
                }
            }
        }
    }
}

/// Waits for a permit, and takes all that are free then.
async fn all_free(permits: &Arc<Semaphore>) -> Vec<OwnedSemaphorePermit> {
    let Ok(first) = permits.clone().acquire_owned().await else { return Vec::new() };
    let more = std::iter::from_fn(|| permits.clone().try_acquire_owned().ok());
    std::iter::once(first).chain(more).collect()
}

/// One step: claims up to a download a permit and starts them. Returns how many there were.
async fn claim(downloader: &Arc<Downloader>, free: Vec<OwnedSemaphorePermit>, shutdown: &Shutdown) -> usize {
    let limit = i64::try_from(free.len()).unwrap_or(i64::MAX);
    let claimed = queue::claim(downloader.database.pool(), downloader.clock.now(), downloader.lease, limit);
    let claimed = downloader.database.within(BACKGROUND, claimed).await.unwrap_or_default();
    let took = claimed.len();
    for (claimed, permit) in claimed.into_iter().zip(free) {
        let (downloader, stop) = (downloader.clone(), shutdown.deadline().clone());
        shutdown.tasks().spawn(async move {
            downloader.carry(claimed, &stop).await;
            drop(permit);
        });
    }
    took
}

/// Sleeps until something falls due, somebody calls, or it is time to stop.
async fn sleep(downloader: &Downloader, wakeups: &Wakeups, shutdown: &Shutdown) {
    let next = downloader.database.within(BACKGROUND, queue::next_due(downloader.database.pool())).await;
    let until_next = next.ok().flatten().map(|due| (due - downloader.clock.now()).to_std().unwrap_or_default());
    let nap = until_next.unwrap_or(LONGEST_SLEEP).clamp(SHORTEST_SLEEP, LONGEST_SLEEP);
    tokio::select! {
        () = shutdown.stopping() => {}
        () = wakeups.downloads() => {}
        () = tokio::time::sleep(nap) => {}
    }
}
