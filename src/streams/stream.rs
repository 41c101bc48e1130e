//! One stream of server-sent events.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, Stream};
use tokio::time::{Instant, sleep, sleep_until};

use super::backlog::BacklogPage;
use super::frame::{self, LiveEvent, ShownEvent, StreamEnd};
use super::hub::Hub;
use super::reader::ReadError;
use super::subscription::{Arrival, Subscription};
use crate::feed::{FeedCursor, FeedFilter};
use crate::http::HeldPlace;
use crate::runtime::Shutdown;

/// After how much silence a heartbeat is sent.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
/// How long to wait after the database could not be read.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// A stream of server-sent events.
#[derive(Debug)]
pub struct EventStream {
    hub: Arc<Hub>,
    shutdown: Shutdown,
    filter: Arc<FeedFilter>,
    subscription: Subscription,
    /// Up to where everything was sent; `None` before the oldest event that is kept.
    cursor: Option<FeedCursor>,
    /// The cursor that the client has.
    sent_cursor: Option<FeedCursor>,
    /// What the client takes next.
    frames: VecDeque<Bytes>,
    phase: StreamPhase,
    last_sent: Instant,
    _place: HeldPlace,
}

enum StreamPhase {
    /// What happened already is read from the database.
    Backlog(BoxFuture<'static, Result<BacklogPage, ReadError>>),
    /// What happens is taken from the hub.
    Live,
    Ended,
}

impl std::fmt::Debug for StreamPhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Backlog(_) => "Backlog",
            Self::Live => "Live",
            Self::Ended => "Ended",
        })
    }
}

/// What a stream waits for.
enum StreamWake {
    Stopping,
    Heartbeat,
    Read(Result<BacklogPage, ReadError>),
    Arrived(Arrival),
}

impl EventStream {
    /// Begins after a cursor. Without one, a stream of one render begins with its oldest event that is kept, and a stream
    /// of all renders with the next event.
    pub(crate) fn new(
        hub: Arc<Hub>,
        shutdown: Shutdown,
        subscription: Subscription,
        filter: FeedFilter,
        after: Option<FeedCursor>,
        place: HeldPlace,
    ) -> Self {
        let position = subscription.position();
        let cursor = after.or(filter.render.is_none().then_some(position));
        let mut stream = Self {
            hub,
            shutdown,
            filter: Arc::new(filter),
            subscription,
            cursor,
            sent_cursor: cursor,
            frames: VecDeque::from([frame::greeting(cursor)]),
            phase: StreamPhase::Live,
            last_sent: Instant::now(),
            _place: place,
        };
        if stream.filter.render.is_some() || cursor != Some(position) {
            stream.phase = stream.read_backlog(Duration::ZERO);
        }
        stream
    }

    /// The body of the answer.
    pub fn into_frames(self) -> impl Stream<Item = Bytes> + Send + 'static {
        stream::unfold(self, |mut stream| async { Some((stream.next_frame().await?, stream)) })
    }

    /// `None` after the end.
    async fn next_frame(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                self.last_sent = Instant::now();
                return Some(frame);
            }
            if matches!(self.phase, StreamPhase::Ended) {
                return None;
            }
            match self.wait().await {
                StreamWake::Stopping => self.end(StreamEnd::Stopping),
                StreamWake::Heartbeat => self.send_heartbeat(),
                StreamWake::Read(Ok(backlog)) => self.send_backlog(backlog),
                StreamWake::Read(Err(ReadError::Expired)) => self.reset(),
                StreamWake::Read(Err(ReadError::Unavailable(_))) => self.phase = self.read_backlog(RETRY_DELAY),
                StreamWake::Arrived(Arrival::Events(events)) => self.send_events(&events),
                StreamWake::Arrived(Arrival::Missed) => self.phase = self.read_backlog(Duration::ZERO),
            }
        }
    }

    async fn wait(&mut self) -> StreamWake {
        let heartbeat = sleep_until(self.last_sent + HEARTBEAT_INTERVAL);
        let news = async {
            match &mut self.phase {
                StreamPhase::Backlog(reading) => StreamWake::Read(reading.await),
                StreamPhase::Live => StreamWake::Arrived(self.subscription.next().await),
                StreamPhase::Ended => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.wait_for_stop() => StreamWake::Stopping,
            news = news => news,
            () = heartbeat => StreamWake::Heartbeat,
        }
    }

    fn end(&mut self, end: StreamEnd) {
        self.frames.push_back(end.frame());
        self.phase = StreamPhase::Ended;
    }

    fn send_heartbeat(&mut self) {
        let news = self.cursor.filter(|_| self.cursor != self.sent_cursor);
        self.sent_cursor = self.cursor;
        self.frames.push_back(frame::heartbeat(news));
    }

    fn read_backlog(&self, delay: Duration) -> StreamPhase {
        let (hub, filter, after) = (self.hub.clone(), self.filter.clone(), self.cursor);
        StreamPhase::Backlog(Box::pin(async move {
            sleep(delay).await;
            hub.read_backlog(&filter, after).await
        }))
    }

    fn send_backlog(&mut self, BacklogPage { page, is_render_finished }: BacklogPage) {
        for event in &page.events {
            self.frames.push_back(ShownEvent::new(event).frame);
            self.sent_cursor = Some(event.cursor());
        }
        let advanced = self.cursor.replace(page.next) != Some(page.next);
        if page.is_end && is_render_finished {
            self.end(StreamEnd::Finished(page.next));
        } else if !page.is_end || (advanced && self.filter.render.is_some()) {
            // The page may have the events that finished the render.
            self.phase = self.read_backlog(Duration::ZERO);
        } else {
            self.phase = StreamPhase::Live;
        }
    }

    /// Sends what the hub passed on. What it cannot know, and whether this is the end of the render, is read from the
    /// database.
    fn send_events(&mut self, events: &[LiveEvent]) {
        let is_news =
            |event: &&LiveEvent, cursor: Option<FeedCursor>| cursor.is_none_or(|it| event.cursor.is_after(it));
        let begun_at = self.cursor;
        for event in events.iter().filter(|event| is_news(event, begun_at)) {
            let is_of_finished = |shown: &ShownEvent| self.filter.render.is_some() && shown.is_render_finished;
            let Some(shown) = event.shown.as_ref().filter(|shown| !is_of_finished(shown)) else {
                self.phase = self.read_backlog(Duration::ZERO);
                return;
            };
            self.cursor = Some(event.cursor);
            if self.filter.types.contains(&event.event_type) {
                self.sent_cursor = self.cursor;
                self.frames.push_back(shown.frame.clone());
            }
        }
    }

    /// Tells that events were missed. A stream of one render begins again, a stream of all continues with the next event.
    fn reset(&mut self) {
        let render = self.filter.render.clone();
        let Some(subscription) = Subscription::start_now(&self.hub, render.as_ref()) else {
            // The hub has stopped.
            self.phase = self.read_backlog(RETRY_DELAY);
            return;
        };
        self.cursor = render.is_none().then_some(subscription.position());
        self.sent_cursor = self.cursor;
        self.subscription = subscription;
        self.frames.push_back(frame::reset(self.cursor));
        self.phase = if render.is_some() { self.read_backlog(Duration::ZERO) } else { StreamPhase::Live };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use sqlx::postgres::PgPoolOptions;
    use url::Url;

    use super::*;
    use crate::archive::Store;
    use crate::domain::NotificationType;
    use crate::http::HeldRequests;
    use crate::runtime::{Database, Wakeups};
    use crate::streams::reader::EventReader;

    fn cursor(position: i64) -> FeedCursor {
        let bytes = [&[7; 4][..], &position.to_be_bytes()].concat();
        BASE64_URL_SAFE_NO_PAD.encode(bytes).parse().unwrap()
    }

    fn event(position: i64, event_type: NotificationType, frame: &'static str) -> LiveEvent {
        let shown = ShownEvent { frame: Bytes::from_static(frame.as_bytes()), json: 0..0, is_render_finished: false };
        LiveEvent { cursor: cursor(position), event_type, shown: Some(shown) }
    }

    /// A hub that has read up to the first place, without a database.
    fn hub() -> Arc<Hub> {
        let pool = PgPoolOptions::new().connect_lazy("postgres://127.0.0.1/unused").unwrap();
        let store = Store::at(&Url::parse("file:///unused").unwrap(), &HashMap::new()).unwrap();
        let reader = EventReader { database: Database::from_pool(pool), store };
        let hub = Hub::new(reader, Arc::new(Wakeups::default()), HeldRequests::at_most(1));
        hub.subscribers().position = Some(cursor(1));
        Arc::new(hub)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_has_a_comment_every_10_s_with_the_cursor_if_it_is_new() {
        let (hub, shutdown, begun) = (hub(), Shutdown::default(), Instant::now());
        let filter = FeedFilter { types: vec![NotificationType::Failed], render: None };
        let subscription = Subscription::start_now(&hub, None).unwrap();
        let place = hub.held.hold().unwrap();
        let mut stream = EventStream::new(hub.clone(), shutdown.clone(), subscription, filter, None, place);
        let mut next = async || {
            let frame = stream.next_frame().await?;
            Some((begun.elapsed().as_secs(), String::from_utf8(frame.to_vec()).unwrap()))
        };
        let (first, second, third) = (cursor(1), cursor(2), cursor(3));
        assert_eq!(next().await, Some((0, format!("retry: 3000\nid: {first}\n\n"))));
        assert_eq!(next().await, Some((10, ":\n\n".to_owned())));
        hub.subscribers().publish(&["a".to_owned()], vec![event(2, NotificationType::Moved, "moved")], second);
        assert_eq!(next().await, Some((20, format!(":\nid: {second}\n\n"))));
        assert_eq!(next().await, Some((30, ":\n\n".to_owned())));
        hub.subscribers().publish(&["a".to_owned()], vec![event(3, NotificationType::Failed, "failed")], third);
        assert_eq!(next().await, Some((30, "failed".to_owned())));
        assert_eq!(next().await, Some((40, ":\n\n".to_owned())));
        shutdown.stop();
        assert_eq!(next().await, Some((40, "event: end\ndata: {\"reason\":\"stopping\"}\n\n".to_owned())));
        assert_eq!(next().await, None);
    }
}
