//! The worker: claims what is due and carries it, as many downloads at once as it may.
//!
//! The loop only decides when to claim; [`Downloader::carry`] is the work. A permit belongs to each download and moves
//! into its task, so that the bound holds whatever becomes of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::archive::download::Downloader;
use crate::archive::queue::{self, Room};
use crate::domain::SignedUrl;
use crate::runtime::BACKGROUND;
use crate::runtime::Shutdown;
use crate::runtime::Wakeups;

/// How long the worker sleeps at most: what falls due without a wake-up call waits no longer than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// How long it sleeps at least, also when the next download falls due sooner or the database is away.
const SHORTEST_SLEEP: Duration = Duration::from_millis(100);

/// Works until it is time to stop. `concurrency` 0 downloads nothing.
pub async fn run(downloader: Arc<Downloader>, concurrency: usize, wakeups: &Wakeups, shutdown: &Shutdown) {
    let hosts = Hosts::default();
    // One place is for another server than the one that takes all the others.
    let per_host = i64::try_from(concurrency.saturating_sub(1).max(1)).unwrap_or(i64::MAX);
    let permits = Arc::new(Semaphore::new(concurrency));
    while !shutdown.is_stopping() {
        tokio::select! {
            () = shutdown.stopping() => {}
            free = all_free(&permits) => {
                let asked = free.len();
                let took = claim(&downloader, free, per_host, &hosts, shutdown).await;
                if took < asked {
                    sleep(&downloader, &hosts, per_host, wakeups, shutdown).await;
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
async fn claim(
    downloader: &Arc<Downloader>,
    free: Vec<OwnedSemaphorePermit>,
    per_host: i64,
    hosts: &Hosts,
    shutdown: &Shutdown,
) -> usize {
    let room = Room { limit: i64::try_from(free.len()).unwrap_or(i64::MAX), per_host, under_way: hosts.under_way() };
    let claimed = queue::claim(downloader.database.pool(), downloader.clock.now(), downloader.lease, &room);
    let claimed = downloader.database.within(BACKGROUND, claimed).await.unwrap_or_default();
    let took = claimed.len();
    for (claimed, permit) in claimed.into_iter().zip(free) {
        let (downloader, stop) = (downloader.clone(), shutdown.clone());
        let place = hosts.enter(claimed.url.as_ref().map(SignedUrl::host).unwrap_or_default());
        shutdown.tasks().spawn(async move {
            Box::pin(downloader.carry(claimed, &stop)).await;
            drop((place, permit));
        });
    }
    took
}

/// How many downloads of each server are under way.
#[derive(Clone, Default)]
struct Hosts {
    counts: Arc<Mutex<HashMap<String, i64>>>,
    /// Called when one of them ends.
    left: Arc<Notify>,
}

impl Hosts {
    fn under_way(&self) -> Vec<(String, i64)> {
        let hosts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().map(|(host, &count)| (host.clone(), count)).collect()
    }

    /// Those with no place left.
    fn full(&self, per_host: i64) -> Vec<String> {
        self.under_way().into_iter().filter(|(_, count)| *count >= per_host).map(|(host, _)| host).collect()
    }

    fn enter(&self, host: &str) -> Place {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(host.to_owned()).or_default() += 1;
        Place { hosts: self.clone(), host: host.to_owned() }
    }
}

/// A download's place among those of its server, for as long as it lives.
struct Place {
    hosts: Hosts,
    host: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut hosts = self.hosts.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = hosts.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                hosts.remove(&self.host);
            }
        }
        self.hosts.left.notify_one();
    }
}

/// Sleeps until something falls due that there is a place for, a place gets free, somebody calls, or it is time to stop.
async fn sleep(downloader: &Downloader, hosts: &Hosts, per_host: i64, wakeups: &Wakeups, shutdown: &Shutdown) {
    let full = hosts.full(per_host);
    let next = downloader.database.within(BACKGROUND, queue::next_due(downloader.database.pool(), &full)).await;
    let until_next = next.ok().flatten().map(|due| (due - downloader.clock.now()).to_std().unwrap_or_default());
    let nap = until_next.unwrap_or(LONGEST_SLEEP).clamp(SHORTEST_SLEEP, LONGEST_SLEEP);
    tokio::select! {
        () = shutdown.stopping() => {}
        () = wakeups.downloads() => {}
        () = hosts.left.notified() => {}
        () = tokio::time::sleep(nap) => {}
    }
}
