//! The place of one connection: what the connection is doing, and since when.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{ConnectionKind, Connections};

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Phase {
    /// Reading the head of a request: the first one, or one of which bytes have arrived.
    Head,
    /// A request is in progress, until hyper has taken the last byte of its answer.
    Serving,
    /// Between two requests.
    Idle,
}

#[derive(Debug, Clone, Copy)]
struct State {
    phase: Phase,
    since: Instant,
}

/// The place of one connection. Dropping it frees the place.
#[derive(Debug)]
pub(in crate::http) struct ConnectionPlace {
    connections: Arc<Connections>,
    kind: ConnectionKind,
    id: u64,
    pub(super) evicted: CancellationToken,
    state: Mutex<State>,
}

impl ConnectionPlace {
    /// A place whose connection waits for a request since `since`.
    pub(super) fn new(
        connections: Arc<Connections>,
        kind: ConnectionKind,
        id: u64,
        evicted: CancellationToken,
        since: Instant,
    ) -> Self {
        Self { connections, kind, id, evicted, state: Mutex::new(State { phase: Phase::Head, since }) }
    }

    /// What the place may be used for.
    pub(in crate::http) fn kind(&self) -> ConnectionKind {
        self.kind
    }

    /// Waits until another connection takes over the place.
    pub(in crate::http) async fn wait_for_eviction(&self) {
        self.evicted.cancelled().await;
    }

    /// What the connection is doing, and since when.
    pub(in crate::http) fn phase(&self) -> (Phase, Instant) {
        let state = self.state();
        (state.phase, state.since)
    }

    /// Call when bytes arrive. Between two requests, they begin a head.
    pub(in crate::http) fn bytes_arrived(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            self.enter(&mut state, Phase::Head);
        }
    }

    /// Call when the client accepts bytes of an answer that hyper has completely written.
    pub(in crate::http) fn bytes_accepted(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            self.enter(&mut state, Phase::Idle);
        }
    }

    /// Begins a request. It ends when the guard is dropped.
    pub(in crate::http) fn begin_request(self: &Arc<Self>) -> RequestGuard {
        self.enter(&mut self.state(), Phase::Serving);
        RequestGuard(self.clone())
    }

    fn enter(&self, state: &mut State, phase: Phase) {
        let before = (state.since, self.id);
        *state = State { phase, since: Instant::now() };
        let mut pools = self.connections.lock();
        if self.evicted.is_cancelled() {
            return;
        }
        let waiting = &mut pools.pool(self.kind).waiting;
        waiting.remove(&before);
        match phase {
            Phase::Serving => {}
            Phase::Head | Phase::Idle => {
                waiting.insert((state.since, self.id), self.evicted.clone());
            }
        }
        drop(pools);
        if phase == Phase::Idle {
            self.connections.changed.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let since = self.state().since;
        let mut pools = self.connections.lock();
        if !self.evicted.is_cancelled() {
            let pool = pools.pool(self.kind);
            pool.waiting.remove(&(since, self.id));
            pool.open -= 1;
        }
        drop(pools);
        self.connections.changed.notify_one();
    }
}

/// A request in progress on a connection.
#[derive(Debug)]
pub(in crate::http) struct RequestGuard(Arc<ConnectionPlace>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.enter(&mut self.0.state(), Phase::Idle);
    }
}
