//! The worker: claims what is due and processes it, as many downloads at once as it may.
//!
//! The loop only decides when to claim; the work is the [`Downloader`]'s. A permit belongs to each transfer and moves into
//! its task, so the limit holds however the task ends. While an attempt is settled, its permit is another transfer's; at
//! most as many attempts wait to be settled as there may be transfers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::Instrument;

use crate::archive::download::Downloader;
use crate::archive::queue::{Capacity, claim_downloads, next_due_download};
use crate::domain::SignedUrl;
use crate::runtime::{Shutdown, Wakeups};

/// The longest sleep: what falls due without a notification waits no longer than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// The shortest sleep, also if the next download falls due sooner or the database is down.
const SHORTEST_SLEEP: Duration = Duration::from_millis(100);

/// How long a claim waits for a quarter of the places to be free. Small files end soon after each other, and a claim for
/// several costs hardly more than one for a single file.
const GATHER_TIME: Duration = Duration::from_millis(2);

/// Works until the service stops. With `concurrency` 0 it downloads nothing.
pub async fn run_worker(downloader: Arc<Downloader>, concurrency: usize, wakeups: &Wakeups, shutdown: &Shutdown) {
    let worker = Worker {
        downloader,
        // One place is kept for another host than the one that takes all the others.
        per_host: i64::try_from(concurrency.saturating_sub(1).max(1)).unwrap_or(i64::MAX),
        hosts: Hosts::default(),
        settling: Arc::new(Semaphore::new(concurrency)),
    };
    let permits = Arc::new(Semaphore::new(concurrency));
    while !shutdown.is_stopping() {
        tokio::select! {
            () = shutdown.wait_for_stop() => {}
            free = free_permits(&permits, concurrency / 4 + 1) => {
                let asked = free.len();
                if worker.start(free, shutdown).await < asked {
                    worker.sleep(wakeups, shutdown).await;
                }
            }
        }
    }
}

/// Waits for a permit, gives others until there are `enough` a moment to become free, and takes all that are free then.
async fn free_permits(permits: &Arc<Semaphore>, enough: usize) -> Vec<OwnedSemaphorePermit> {
    // OK because the semaphore is never closed.
    let Ok(first) = permits.clone().acquire_owned().await else { return Vec::new() };
    let mut free = vec![first];
    let gather = async {
        while free.len() < enough
            && let Ok(permit) = permits.clone().acquire_owned().await
        {
            free.push(permit);
        }
    };
    // OK if there are fewer.
    let _ = timeout(GATHER_TIME, gather).await;
    free.extend(std::iter::from_fn(|| permits.clone().try_acquire_owned().ok()));
    free
}

struct Worker {
    downloader: Arc<Downloader>,
    per_host: i64,
    hosts: Hosts,
    /// Limits the attempts that wait to be settled.
    settling: Arc<Semaphore>,
}

impl Worker {
    /// Claims up to one download for each permit and starts them. Returns how many there were.
    async fn start(&self, free: Vec<OwnedSemaphorePermit>, shutdown: &Shutdown) -> usize {
        let Downloader { database, clock, lease, .. } = &*self.downloader;
        let capacity = Capacity {
            limit: i64::try_from(free.len()).unwrap_or(i64::MAX),
            per_host: self.per_host,
            in_progress: self.hosts.counts(),
        };
        // OK to treat an error as an empty queue: the database logs it, and the worker sleeps.
        let claimed = claim_downloads(database, clock.now(), *lease, &capacity).await.unwrap_or_default();
        let count = claimed.len();
        for (claimed, permit) in claimed.into_iter().zip(free) {
            let (downloader, settling) = (self.downloader.clone(), self.settling.clone());
            let (tasks, shutdown) = (shutdown.tasks(), shutdown.clone());
            let place = self.hosts.enter(claimed.url.as_ref().map(SignedUrl::host).unwrap_or_default());
            let span = claimed.span();
            let attempt = async move {
                let ended = Box::pin(downloader.attempt(claimed, &shutdown)).await;
                // OK without a permit: the semaphore is never closed.
                let _settling = settling.acquire_owned().await;
                drop((place, permit));
                if let Some(ended) = ended {
                    downloader.settle(ended, &shutdown).await;
                }
            };
            tasks.spawn(attempt.instrument(span));
        }
        count
    }

    /// Sleeps until a download falls due that there is a place for, a place becomes free, a wake-up call comes, or the
    /// service stops.
    async fn sleep(&self, wakeups: &Wakeups, shutdown: &Shutdown) {
        // Most often a place becomes free soon, and it does not matter what falls due when.
        if timeout(SHORTEST_SLEEP, self.woken_up(wakeups, shutdown)).await.is_ok() {
            return;
        }
        let Downloader { database, clock, .. } = &*self.downloader;
        let next = next_due_download(database, &self.hosts.full(self.per_host)).await;
        let until_next = next.ok().flatten().map(|due_at| (due_at - clock.now()).to_std().unwrap_or_default());
        let nap = until_next.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP);
        // OK if nothing wakes it up: then it is time.
        let _ = timeout(nap, self.woken_up(wakeups, shutdown)).await;
    }

    async fn woken_up(&self, wakeups: &Wakeups, shutdown: &Shutdown) {
        tokio::select! {
            () = shutdown.wait_for_stop() => {}
            () = wakeups.wait_for_downloads() => {}
            () = self.hosts.left.notified() => {}
        }
    }
}

/// How many downloads of each host are in progress.
#[derive(Clone, Default)]
struct Hosts {
    counts: Arc<Mutex<HashMap<String, i64>>>,
    /// Notified when one of them ends.
    left: Arc<Notify>,
}

impl Hosts {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, i64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> Vec<(String, i64)> {
        self.lock().iter().map(|(host, &count)| (host.clone(), count)).collect()
    }

    /// The hosts with no place left.
    fn full(&self, per_host: i64) -> Vec<String> {
        self.counts().into_iter().filter(|(_, count)| *count >= per_host).map(|(host, _)| host).collect()
    }

    fn enter(&self, host: &str) -> HostPlace {
        *self.lock().entry(host.to_owned()).or_default() += 1;
        HostPlace { hosts: self.clone(), host: host.to_owned() }
    }
}

/// A download's place among those of its host, for as long as it lives.
struct HostPlace {
    hosts: Hosts,
    host: String,
}

impl Drop for HostPlace {
    fn drop(&mut self) {
        let mut hosts = self.hosts.lock();
        if let Some(count) = hosts.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                hosts.remove(&self.host);
            }
        }
        drop(hosts);
        self.hosts.left.notify_one();
    }
}
