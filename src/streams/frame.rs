//! Events in the format of server-sent events.

use std::io::Write;
use std::ops::Range;

use bytes::Bytes;

use crate::domain::NotificationType;
use crate::feed::FeedCursor;
use crate::views::EventView;

/// The first bytes of a stream: a client reconnects after 3 s, with the cursor.
pub(super) fn greeting(cursor: Option<FeedCursor>) -> Bytes {
    let id = cursor.map(|cursor| format!("id: {cursor}\n")).unwrap_or_default();
    Bytes::from(format!("retry: 3000\n{id}\n"))
}

/// A comment, which keeps proxies from closing the connection, with the cursor if the client does not have it yet. An
/// event without data is not reported to the application, but the client takes its `id`.
pub(super) fn heartbeat(cursor: Option<FeedCursor>) -> Bytes {
    cursor.map_or(Bytes::from_static(b":\n\n"), |cursor| Bytes::from(format!(":\nid: {cursor}\n\n")))
}

/// Tells that events were missed. An empty `id` makes the client forget its cursor.
pub(super) fn reset(cursor: Option<FeedCursor>) -> Bytes {
    let id = cursor.map(|cursor| cursor.to_string()).unwrap_or_default();
    let data = r#"{"message":"events were missed: read the renders that you need"}"#;
    Bytes::from(format!("event: reset\nid: {id}\ndata: {data}\n\n"))
}

/// What is appended to the cursor in the `id` of the last event of a finished render.
const END_SUFFIX: &str = ".end";

/// The last event of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// The render is finished, and everything up to the cursor was sent.
    Finished(FeedCursor),
    /// The service stops.
    Stopping,
}

impl StreamEnd {
    pub(super) fn frame(self) -> Bytes {
        match self {
            Self::Finished(cursor) => {
                let data = r#"{"reason":"finished"}"#;
                Bytes::from(format!("event: end\nid: {cursor}{END_SUFFIX}\ndata: {data}\n\n"))
            }
            Self::Stopping => Bytes::from_static(b"event: end\ndata: {\"reason\":\"stopping\"}\n\n"),
        }
    }
}

/// The cursor in the `id` of the `end` of a finished render; `None` for any other id.
#[must_use]
pub fn end_cursor(id: &str) -> Option<&str> {
    id.strip_suffix(END_SUFFIX)
}

/// An event as all streams and waiting callers of the process share it.
#[derive(Debug, Clone)]
pub struct LiveEvent {
    pub(super) cursor: FeedCursor,
    pub(super) event_type: NotificationType,
    /// `None` if nobody wanted it, or if it is too large to share: whoever wants it reads it from the database.
    pub(super) shown: Option<ShownEvent>,
}

/// An event with the render as it was shortly after.
#[derive(Debug, Clone)]
pub(super) struct ShownEvent {
    pub(super) frame: Bytes,
    pub(super) json: Range<usize>,
    pub(super) is_render_finished: bool,
}

impl LiveEvent {
    /// Its place in the feed.
    #[must_use]
    pub fn cursor(&self) -> FeedCursor {
        self.cursor
    }

    /// Its type.
    #[must_use]
    pub fn event_type(&self) -> NotificationType {
        self.event_type
    }

    /// Its JSON, as in the feed; `None` if it has to be read from the database.
    #[must_use]
    pub fn json(&self) -> Option<&[u8]> {
        self.shown.as_ref().map(|shown| &shown.frame[shown.json.clone()])
    }

    /// Whether its render may be finished.
    #[must_use]
    pub fn may_end_render(&self) -> bool {
        self.shown.as_ref().is_none_or(|shown| shown.is_render_finished)
    }
}

impl ShownEvent {
    pub(super) fn new(event: &EventView) -> Self {
        // Never fails: the view has only maps with string keys.
        let mut json = serde_json::to_vec(event).unwrap_or_default();
        // `metadata` is passed on as it was written. Line breaks in JSON can only be between tokens, where a space means
        // the same, and would end the line of `data`.
        for byte in json.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
        let mut frame = Vec::with_capacity(json.len() + 96);
        // OK to ignore: writing to memory never fails.
        let _ = write!(frame, "event: {}\nid: {}\ndata: ", event.event_type(), event.cursor());
        let begin = frame.len();
        frame.extend_from_slice(&json);
        let json = begin..frame.len();
        frame.extend_from_slice(b"\n\n");
        Self { frame: frame.into(), json, is_render_finished: event.is_render_finished() }
    }
}
