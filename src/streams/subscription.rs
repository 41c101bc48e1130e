//! A subscription to what the hub publishes.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};

use super::frame::LiveEvent;
use super::hub::Hub;
use super::subscribers::Publication;
use crate::domain::RenderId;
use crate::feed::FeedCursor;

/// What a subscriber gets.
#[derive(Debug)]
pub enum Arrival {
    /// Events, in the order of the feed. The first ones may be before the subscriber's own place.
    Events(Arc<[LiveEvent]>),
    /// Events were missed: read on in the database.
    Missed,
}

/// A subscription to all events, or to those of one render.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Hub>,
    render: Option<RenderId>,
    position: FeedCursor,
    receiver: broadcast::Receiver<Publication>,
}

impl Subscription {
    /// Subscribes to the events of a render, or to all. Waits until the hub knows the end of the feed, so while the
    /// database is down.
    pub async fn start(hub: &Arc<Hub>, render: Option<&RenderId>) -> Self {
        let _waiting = hub.announce_subscriber();
        loop {
            let positioned = hub.positioned();
            if let Some(subscription) = Self::start_now(hub, render) {
                return subscription;
            }
            positioned.await;
        }
    }

    /// `None` if the hub does not know the end of the feed yet.
    pub(super) fn start_now(hub: &Arc<Hub>, render: Option<&RenderId>) -> Option<Self> {
        let (position, receiver) = hub.subscribers().join(render)?;
        Some(Self { hub: hub.clone(), render: render.cloned(), position, receiver })
    }

    /// Where it began: everything after this place arrives.
    #[must_use]
    pub fn position(&self) -> FeedCursor {
        self.position
    }

    /// Waits for what is published next. Can be canceled without losing anything.
    pub async fn next(&mut self) -> Arrival {
        match self.receiver.recv().await {
            Ok(Publication::Events(events)) => Arrival::Events(events),
            Ok(Publication::Gap) | Err(RecvError::Lagged(_)) => Arrival::Missed,
            // OK to wait forever: the sender lives as long as the hub, which the subscription holds.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.subscribers().leave(self.render.as_ref());
    }
}
