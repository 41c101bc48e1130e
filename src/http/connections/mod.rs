//! Limits the number of open connections, and decides which one is closed for a new one.
//!
//! Guaranteed: at most `connections` plus `reserved_connections` are open; if all places are taken, the connection that has
//! waited longest without a request in progress is closed for the new one; a connection with a request in progress is
//! never closed for another. If every regular connection has a request in progress, new connections take the reserved
//! places, which only serve health checks. Limit: an evicted connection may hold its descriptor a moment longer than its
//! place.

mod place;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) use self::place::{ConnectionPlace, Phase, RequestGuard};
use super::limits::Limits;

/// The open connections.
#[derive(Debug)]
pub(super) struct Connections {
    pools: Mutex<SlotPools>,
    /// Notified when a place may have become free.
    changed: Notify,
}

/// What a place may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionKind {
    /// All requests.
    Regular,
    /// Health checks only, while every regular connection has a request in progress.
    Reserved,
}

#[derive(Debug)]
struct SlotPools {
    next_id: u64,
    regular: PlacePool,
    reserved: PlacePool,
}

#[derive(Debug)]
struct PlacePool {
    capacity: usize,
    open: usize,
    /// The connections without a request in progress, by the time since when they wait.
    waiting: BTreeMap<(Instant, u64), CancellationToken>,
}

impl PlacePool {
    fn new(capacity: usize) -> Self {
        Self { capacity, open: 0, waiting: BTreeMap::new() }
    }

    /// Takes a free place, or that of the connection that has waited longest.
    fn take(&mut self) -> bool {
        if self.open >= self.capacity {
            let Some((_, longest_waiting)) = self.waiting.pop_first() else { return false };
            longest_waiting.cancel();
            self.open -= 1;
        }
        self.open += 1;
        true
    }
}

impl SlotPools {
    fn pool(&mut self, kind: ConnectionKind) -> &mut PlacePool {
        match kind {
            ConnectionKind::Regular => &mut self.regular,
            ConnectionKind::Reserved => &mut self.reserved,
        }
    }
}

impl Connections {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let pools = SlotPools {
            next_id: 0,
            regular: PlacePool::new(limits.connections),
            reserved: PlacePool::new(limits.reserved_connections),
        };
        Arc::new(Self { pools: Mutex::new(pools), changed: Notify::new() })
    }

    /// Acquires a place for a new connection. Waits only while every connection has a request in progress.
    pub(super) async fn acquire(self: &Arc<Self>) -> ConnectionPlace {
        loop {
            if let Some(place) = self.try_acquire() {
                return place;
            }
            self.changed.notified().await;
        }
    }

    fn try_acquire(self: &Arc<Self>) -> Option<ConnectionPlace> {
        let mut pools = self.lock();
        let kind =
            [ConnectionKind::Regular, ConnectionKind::Reserved].into_iter().find(|&kind| pools.pool(kind).take())?;
        pools.next_id += 1;
        let (id, waiting_since, evicted) = (pools.next_id, Instant::now(), CancellationToken::new());
        pools.pool(kind).waiting.insert((waiting_since, id), evicted.clone());
        drop(pools);
        Some(ConnectionPlace::new(self.clone(), kind, id, evicted, waiting_since))
    }

    fn lock(&self) -> MutexGuard<'_, SlotPools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use tokio::time::advance;

    use super::*;

    fn connections(regular: usize, reserved: usize) -> Arc<Connections> {
        let limits = Limits { connections: regular, reserved_connections: reserved, ..Limits::default() };
        Connections::new(&limits)
    }

    /// Opens a connection one second after the previous one.
    async fn open(connections: &Arc<Connections>) -> Option<Arc<ConnectionPlace>> {
        advance(Duration::from_secs(1)).await;
        connections.acquire().now_or_never().map(Arc::new)
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_connection_is_evicted_and_never_one_with_a_request_in_progress() {
        let list = connections(3, 0);
        let (first, second, third) =
            (open(&list).await.unwrap(), open(&list).await.unwrap(), open(&list).await.unwrap());
        let serving = first.begin_request();
        advance(Duration::from_secs(1)).await;
        drop(second.begin_request()); // idle from now on, so the third has waited longest
        let fourth = open(&list).await.unwrap();
        let evicted = [&first, &second, &third, &fourth].map(|place| place.evicted.is_cancelled());
        assert_eq!(evicted, [false, false, true, false]);

        let (_serving, _more) = (second.begin_request(), fourth.begin_request());
        assert!(open(&list).await.is_none(), "all have a request in progress");
        drop(serving);
        let fifth = open(&list).await.unwrap();
        assert!(first.evicted.is_cancelled());
        drop((first, third));
        let _serving_too = fifth.begin_request();
        assert!(open(&list).await.is_none(), "evicted connections free their places only once");
        drop(fourth);
        assert!(open(&list).await.is_none(), "the guard of its request still holds the place");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_begin_a_head_once_and_do_not_keep_a_connection_alive() {
        let list = connections(2, 0);
        let place = open(&list).await.unwrap();
        assert_eq!(place.phase().0, Phase::Head);
        drop(place.begin_request());
        assert_eq!(place.phase().0, Phase::Idle);
        place.bytes_arrived();
        let begun = place.phase();
        assert_eq!(begun.0, Phase::Head);
        let second = open(&list).await.unwrap();
        advance(Duration::from_secs(1)).await;
        place.bytes_arrived();
        assert_eq!(place.phase(), begun);
        let _third = open(&list).await.unwrap();
        assert_eq!((place.evicted.is_cancelled(), second.evicted.is_cancelled()), (true, false));
    }

    #[tokio::test(start_paused = true)]
    async fn reserved_places_are_used_when_all_other_connections_have_a_request_in_progress() {
        let list = connections(1, 1);
        let regular = open(&list).await.unwrap();
        let serving = regular.begin_request();
        let reserved = open(&list).await.unwrap();
        assert_eq!((regular.kind(), reserved.kind()), (ConnectionKind::Regular, ConnectionKind::Reserved));
        let next = open(&list).await.unwrap();
        assert_eq!((next.kind(), reserved.evicted.is_cancelled()), (ConnectionKind::Reserved, true));
        drop((serving, regular));
        assert_eq!(open(&list).await.unwrap().kind(), ConnectionKind::Regular);
    }
}
