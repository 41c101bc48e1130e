//! The list of open connections: how many there may be, and which one is closed when another needs its place.
//!
//! Properties: at most `connections` plus `reserved_connections` are open; when no place is left, the connection that
//! has waited longest without serving a request is closed for the new one; a connection that serves a request is never
//! closed for another. When every ordinary connection serves a request, the reserved places take further ones, which
//! are only good for health checks. Limits: a connection that was told to close may hold its descriptor for a moment
//! longer than its place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::limits::Limits;

/// The list.
#[derive(Debug)]
pub(super) struct Connections {
    rooms: Mutex<Rooms>,
    /// Told when a place may have become free.
    changed: Notify,
}

/// Which places a connection may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// For all requests.
    Ordinary,
    /// For health checks, when the ordinary room is full of requests in progress.
    Reserved,
}

#[derive(Debug)]
struct Rooms {
    next_id: u64,
    ordinary: Places,
    reserved: Places,
}

#[derive(Debug)]
struct Places {
    capacity: usize,
    open: usize,
    /// Those that serve no request, by the time since when.
    waiting: BTreeMap<(Instant, u64), CancellationToken>,
}

impl Places {
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

impl Rooms {
    fn places(&mut self, room: Room) -> &mut Places {
        match room {
            Room::Ordinary => &mut self.ordinary,
            Room::Reserved => &mut self.reserved,
        }
    }
}

impl Connections {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let rooms = Rooms {
            next_id: 0,
            ordinary: Places::new(limits.connections),
            reserved: Places::new(limits.reserved_connections),
        };
        Arc::new(Self { rooms: Mutex::new(rooms), changed: Notify::new() })
    }

    /// A place for a new connection; waits only while every connection of both rooms serves a request.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
        loop {
            if let Some(place) = self.try_place() {
                return place;
            }
            self.changed.notified().await;
        }
    }

    fn try_place(self: &Arc<Self>) -> Option<Place> {
        let mut rooms = self.lock();
        let room = [Room::Ordinary, Room::Reserved].into_iter().find(|&room| rooms.places(room).take())?;
        rooms.next_id += 1;
        let (id, waiting_since, evicted) = (rooms.next_id, Instant::now(), CancellationToken::new());
        rooms.places(room).waiting.insert((waiting_since, id), evicted.clone());
        drop(rooms);
        let state = Mutex::new(State { phase: Phase::Head, since: waiting_since });
        Some(Place { connections: self.clone(), room, id, evicted, state })
    }

    fn lock(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The head of a request is awaited: the first one, or one of which bytes have come.
    Head,
    /// A request is in progress, until the last byte of its answer was handed over.
    Serving,
    /// Between two requests.
    Idle,
}

#[derive(Debug, Clone, Copy)]
struct State {
    phase: Phase,
    since: Instant,
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    room: Room,
    id: u64,
    evicted: CancellationToken,
    state: Mutex<State>,
}

impl Place {
    /// Which room it is in.
    pub(super) fn room(&self) -> Room {
        self.room
    }

    /// Returns once another connection needs the place.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// What the connection is doing, and since when.
    pub(super) fn phase(&self) -> (Phase, Instant) {
        let state = self.state();
        (state.phase, state.since)
    }

    /// Bytes have come: between two requests they begin a head.
    pub(super) fn bytes_arrived(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            self.enter(&mut state, Phase::Head);
        }
    }

    /// The client has taken bytes of an answer that is handed over and not sent yet.
    pub(super) fn bytes_taken(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            self.enter(&mut state, Phase::Idle);
        }
    }

    /// A request begins; it ends when the guard is dropped.
    pub(super) fn serve(self: &Arc<Self>) -> Serving {
        self.enter(&mut self.state(), Phase::Serving);
        Serving(self.clone())
    }

    fn enter(&self, state: &mut State, phase: Phase) {
        let before = (state.since, self.id);
        *state = State { phase, since: Instant::now() };
        let mut rooms = self.connections.lock();
        if self.evicted.is_cancelled() {
            return;
        }
        let waiting = &mut rooms.places(self.room).waiting;
        waiting.remove(&before);
        match phase {
            Phase::Serving => {}
            Phase::Head | Phase::Idle => {
                waiting.insert((state.since, self.id), self.evicted.clone());
            }
        }
        drop(rooms);
        if phase == Phase::Idle {
            self.connections.changed.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let since = self.state().since;
        let mut rooms = self.connections.lock();
        if !self.evicted.is_cancelled() {
            let places = rooms.places(self.room);
            places.waiting.remove(&(since, self.id));
            places.open -= 1;
        }
        drop(rooms);
        self.connections.changed.notify_one();
    }
}

/// A request in progress on a connection.
#[derive(Debug)]
pub(super) struct Serving(Arc<Place>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.enter(&mut self.0.state(), Phase::Idle);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use tokio::time::advance;

    use super::*;

    fn connections(ordinary: usize, reserved: usize) -> Arc<Connections> {
        let limits = Limits { connections: ordinary, reserved_connections: reserved, ..Limits::default() };
        Connections::new(&limits)
    }

    /// A connection that begins one second after the one before.
    async fn open(connections: &Arc<Connections>) -> Option<Arc<Place>> {
        advance(Duration::from_secs(1)).await;
        connections.place().now_or_never().map(Arc::new)
    }

    #[tokio::test(start_paused = true)]
    async fn the_idlest_connection_makes_room_and_never_one_that_serves_a_request() {
        let list = connections(3, 0);
        let (first, second, third) =
            (open(&list).await.unwrap(), open(&list).await.unwrap(), open(&list).await.unwrap());
        let serving = first.serve();
        advance(Duration::from_secs(1)).await;
        drop(second.serve()); // idle since now, so the third has waited longest
        let fourth = open(&list).await.unwrap();
        let evicted = [&first, &second, &third, &fourth].map(|place| place.evicted.is_cancelled());
        assert_eq!(evicted, [false, false, true, false]);

        let (_serving, _more) = (second.serve(), fourth.serve());
        assert!(open(&list).await.is_none(), "all serve requests");
        drop(serving);
        let fifth = open(&list).await.unwrap();
        assert!(first.evicted.is_cancelled());
        drop((first, third));
        let _serving_too = fifth.serve();
        assert!(open(&list).await.is_none(), "the evicted ones returned their places only once");
        drop(fourth);
        assert!(open(&list).await.is_none(), "the guard of its request still holds the place");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_begin_a_head_once_and_do_not_keep_a_connection_alive() {
        let list = connections(2, 0);
        let place = open(&list).await.unwrap();
        assert_eq!(place.phase().0, Phase::Head);
        drop(place.serve());
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
    async fn the_reserve_takes_over_when_all_others_serve_requests() {
        let list = connections(1, 1);
        let ordinary = open(&list).await.unwrap();
        let serving = ordinary.serve();
        let reserved = open(&list).await.unwrap();
        assert_eq!((ordinary.room(), reserved.room()), (Room::Ordinary, Room::Reserved));
        let next = open(&list).await.unwrap();
        assert_eq!((next.room(), reserved.evicted.is_cancelled()), (Room::Reserved, true));
        drop((serving, ordinary));
        assert_eq!(open(&list).await.unwrap().room(), Room::Ordinary);
    }
}
