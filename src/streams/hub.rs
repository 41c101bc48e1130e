//! Reads the feed once for everybody in this process.
//!
//! The hub reads only while there is a subscriber, woken by Postgres or every 2 s, and shows only what somebody wants.
//! Guaranteed: a subscriber gets every event after its position, or learns that it missed some, because subscribing and
//! publishing happen under one lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::frame::{LiveEvent, ShownEvent};
use super::reader::{EventReader, ReadError};
use super::subscribers::Subscribers;
use crate::domain::NotificationType;
use crate::feed::{FeedCursor, FeedEntry, FeedFilter, FeedPage};
use crate::http::HeldRequests;
use crate::runtime::{DatabaseError, Shutdown, Wakeups};
use crate::views::{EventView, RenderView};

/// How often the feed is read without a wakeup.
const READ_INTERVAL: Duration = Duration::from_secs(2);
/// The minimum time between two reads that reach the end of the feed. While much happens, one read then shows many events.
const MIN_INTERVAL: Duration = Duration::from_millis(20);
/// How many entries are read at once.
const PAGE: usize = 100;
/// How many bytes of events are shared from one page. The rest is read from the database by those who want it. Subscribers
/// lag at most [`MAX_LAG`](super::subscribers::MAX_LAG) pages behind, so all that is shared takes at most 16 MiB.
const MAX_PAGE_BYTES: usize = 256 << 10;
/// How many streams read from the database at once, so that requests are not held up.
const MAX_READERS: usize = 4;

/// Reads the feed for all subscribers of this process.
#[derive(Debug)]
pub struct Hub {
    pub(super) reader: EventReader,
    /// The requests that wait.
    pub held: HeldRequests,
    wakeups: Arc<Wakeups>,
    subscribers: Mutex<Subscribers>,
    /// Notified when the first subscriber joins.
    joined: Notify,
    /// Notified when the position is known.
    positioned: Notify,
    /// For streams that read from the database.
    pub(super) readers: Semaphore,
}

impl Hub {
    /// A hub without subscribers.
    #[must_use]
    pub fn new(reader: EventReader, wakeups: Arc<Wakeups>, held: HeldRequests) -> Self {
        Self {
            reader,
            held,
            wakeups,
            subscribers: Mutex::default(),
            joined: Notify::new(),
            positioned: Notify::new(),
            readers: Semaphore::new(MAX_READERS),
        }
    }

    /// How many streams and waiting requests there are.
    #[must_use]
    pub fn subscriber_count(&self) -> usize {
        self.subscribers().count
    }

    pub(super) fn subscribers(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the hub find its position, until the guard is dropped.
    pub(super) fn announce_subscriber(&self) -> AnnouncedSubscriber<'_> {
        self.subscribers().count += 1;
        self.joined.notify_one();
        AnnouncedSubscriber(self)
    }

    /// Ends when the hub has found its position after this call.
    pub(super) fn positioned(&self) -> Notified<'_> {
        self.positioned.notified()
    }

    /// Reads the feed until a stop is requested.
    pub async fn run(&self, shutdown: &Shutdown) {
        let reading = async {
            loop {
                self.wait_for_subscriber().await;
                self.follow().await;
            }
        };
        shutdown.requested().run_until_cancelled(reading).await;
    }

    async fn wait_for_subscriber(&self) {
        while self.subscribers().count == 0 {
            self.joined.notified().await;
        }
    }

    /// Publishes what happens until the last subscriber has left.
    async fn follow(&self) {
        let mut growth = self.wakeups.subscribe_to_feed();
        while self.is_wanted() {
            let begun = Instant::now();
            match self.advance().await {
                Ok(true) => {
                    // OK to ignore: after the time, the feed is read without a wakeup.
                    let _ = timeout(READ_INTERVAL, growth.wait()).await;
                    sleep_until(begun + MIN_INTERVAL).await;
                }
                Ok(false) => {}
                // It has been logged.
                Err(_) => sleep(READ_INTERVAL).await,
            }
        }
    }

    /// Whether there is a subscriber. Without one, the position is given up: events from now on are nobody's.
    fn is_wanted(&self) -> bool {
        let mut subscribers = self.subscribers();
        if subscribers.count == 0 {
            subscribers.position = None;
        }
        subscribers.count > 0
    }

    /// Reads and publishes a page. Returns whether it was the last.
    async fn advance(&self) -> Result<bool, DatabaseError> {
        let position = self.subscribers().position;
        let Some(position) = position else {
            let end = self.reader.end().await?;
            self.subscribers().position = Some(end);
            self.positioned.notify_waiters();
            return Ok(false);
        };
        match self.read(position).await {
            Ok((page, renders)) => {
                let is_end = page.is_end;
                self.publish(page, &renders);
                Ok(is_end)
            }
            Err(ReadError::Expired) => {
                let end = self.reader.end().await?;
                self.subscribers().publish_gap(end);
                Ok(false)
            }
            Err(ReadError::Unavailable(error)) => Err(error),
        }
    }

    /// A page, and the renders of it that somebody wants to see.
    async fn read(&self, position: FeedCursor) -> Result<(FeedPage, HashMap<String, RenderView>), ReadError> {
        let filter = FeedFilter { types: NotificationType::ALL.to_vec(), render: None };
        let page = self.reader.entries(&filter, Some(position), PAGE).await?;
        let wanted = self.subscribers().wanted(&page.entries);
        let renders = self.reader.renders(wanted).await?;
        Ok((page, renders))
    }

    fn publish(&self, page: FeedPage, renders: &HashMap<String, RenderView>) {
        let mut left = MAX_PAGE_BYTES;
        let ids: Vec<_> = page.entries.iter().map(|entry| entry.render_id.clone()).collect();
        let events = page.entries.into_iter().map(|entry| live_event(entry, renders, &mut left)).collect();
        self.subscribers().publish(&ids, events, page.next);
    }
}

/// The event as everybody shares it, unless nobody wants its render or it does not fit into the `left` bytes.
fn live_event(entry: FeedEntry, renders: &HashMap<String, RenderView>, left: &mut usize) -> LiveEvent {
    let (cursor, event_type) = (entry.cursor, entry.notification.notification_type());
    let is_wanted = renders.contains_key(&entry.render_id);
    let shown = is_wanted.then(|| ShownEvent::new(&EventView::new(entry, renders)));
    let shown = shown.filter(|shown| shown.frame.len() <= *left);
    *left -= shown.as_ref().map_or(0, |shown| shown.frame.len());
    LiveEvent { cursor, event_type, shown }
}

/// A subscriber that waits for the hub to find its position.
#[derive(Debug)]
pub(super) struct AnnouncedSubscriber<'a>(&'a Hub);

impl Drop for AnnouncedSubscriber<'_> {
    fn drop(&mut self) {
        self.0.subscribers().count -= 1;
    }
}
