//! The streams and waiting callers of this process, and which events each of them gets.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::broadcast;

use super::frame::LiveEvent;
use crate::domain::RenderId;
use crate::feed::{FeedCursor, FeedEntry};

/// How many publications a subscriber to all events may lag behind.
pub(super) const MAX_LAG: usize = 64;
/// The same for a subscriber to one render.
const MAX_RENDER_LAG: usize = 4;

/// What the hub publishes.
#[derive(Debug, Clone)]
pub(super) enum Publication {
    /// The next events.
    Events(Arc<[LiveEvent]>),
    /// The hub could not read the feed without a gap.
    Gap,
}

/// The subscribers of the hub.
#[derive(Debug)]
pub(super) struct Subscribers {
    /// Up to where the feed was published; `None` while nobody subscribes.
    pub(super) position: Option<FeedCursor>,
    /// How many there are, including those that wait for the position.
    pub(super) count: usize,
    all: broadcast::Sender<Publication>,
    renders: HashMap<String, RenderSubscribers>,
}

#[derive(Debug)]
struct RenderSubscribers {
    count: usize,
    sender: broadcast::Sender<Publication>,
}

impl Default for Subscribers {
    fn default() -> Self {
        Self { position: None, count: 0, all: broadcast::Sender::new(MAX_LAG), renders: HashMap::new() }
    }
}

impl Subscribers {
    /// A receiver of everything after the returned position; `None` if the position is not known yet.
    pub(super) fn join(&mut self, render: Option<&RenderId>) -> Option<(FeedCursor, broadcast::Receiver<Publication>)> {
        let position = self.position?;
        self.count += 1;
        let receiver = match render {
            None => self.all.subscribe(),
            Some(render) => self.join_render(render),
        };
        Some((position, receiver))
    }

    fn join_render(&mut self, render: &RenderId) -> broadcast::Receiver<Publication> {
        let new = || RenderSubscribers { count: 0, sender: broadcast::Sender::new(MAX_RENDER_LAG) };
        let channel = self.renders.entry(render.as_str().to_owned()).or_insert_with(new);
        channel.count += 1;
        channel.sender.subscribe()
    }

    /// Call once for each [`join`](Self::join).
    pub(super) fn leave(&mut self, render: Option<&RenderId>) {
        self.count -= 1;
        let Some(channel) = render.and_then(|render| self.renders.get_mut(render.as_str())) else { return };
        channel.count -= 1;
        if let (0, Some(render)) = (channel.count, render) {
            self.renders.remove(render.as_str());
        }
    }

    /// The renders among these that somebody wants to see.
    pub(super) fn wanted<'a>(&self, entries: &'a [FeedEntry]) -> HashSet<&'a str> {
        let wants_all = self.all.receiver_count() > 0;
        let ids = entries.iter().map(|entry| entry.render_id.as_str());
        ids.filter(|id| wants_all || self.renders.contains_key(*id)).collect()
    }

    /// Publishes events, of which `ids` are the renders, and moves on to `next`.
    pub(super) fn publish(&mut self, ids: &[String], events: Vec<LiveEvent>, next: FeedCursor) {
        let mut of_renders: HashMap<&str, Vec<LiveEvent>> = HashMap::new();
        for (id, event) in ids.iter().zip(&events).filter(|(id, _)| self.renders.contains_key(id.as_str())) {
            of_renders.entry(id).or_default().push(event.clone());
        }
        // OK to ignore throughout: sending fails if there is no subscriber.
        for (id, events) in of_renders {
            let _ = self.renders[id].sender.send(Publication::Events(events.into()));
        }
        if !events.is_empty() {
            let _ = self.all.send(Publication::Events(events.into()));
        }
        self.position = Some(next);
    }

    /// Lets everybody read on in the database, and moves to `next`.
    pub(super) fn publish_gap(&mut self, next: FeedCursor) {
        for sender in self.renders.values().map(|channel| &channel.sender).chain([&self.all]) {
            let _ = sender.send(Publication::Gap);
        }
        self.position = Some(next);
    }
}
