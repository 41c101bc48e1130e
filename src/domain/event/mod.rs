//! What Magic Hour says, read from bytes.
//!
//! [`read`] gives an [`Event`], or says why the body cannot be one. Guaranteed: a body that is JSON, has a `type` and a
//! `payload.id`, is always an event, however strange the rest of it is. Each field is read by itself, and one that is
//! missing or of another shape than documented counts as not said: what one field spoils is that field.
//! New event types, statuses and fields appear without notice, so every word of Magic Hour's is known or other, and
//! the other is kept.

mod json;
mod payload;

use std::fmt;

use crate::domain::render::{Kind, Status};

pub use self::payload::{Entry, Facts, Nullable, Payload, RenderError, SignedUrl};

/// What an event's type says was done to a render: the part behind the dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Rendering began.
    Started,
    /// Rendering finished.
    Completed,
    /// Rendering failed.
    Errored,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Started, Self::Completed, Self::Errored];

    /// The word of the webhook: `started`, `completed`, `errored`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Errored => "errored",
        }
    }

    /// The status that it says.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Started => Status::Rendering,
            Self::Completed => Status::Complete,
            Self::Errored => Status::Error,
        }
    }
}

/// The `type` of an event: `{kind}.{action}`, kept as it was sent, bounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventType(String);

impl EventType {
    /// The longest type that is kept, in bytes: it becomes part of the key that tells duplicates.
    const MAX_BYTES: usize = 200;

    /// The type of `kind` and `action`.
    #[must_use]
    pub fn new(kind: Kind, action: Action) -> Self {
        Self(format!("{kind}.{}", action.as_str()))
    }

    /// A type as it was sent.
    #[must_use]
    pub fn told(mut text: String) -> Self {
        text.truncate(text.floor_char_boundary(Self::MAX_BYTES));
        Self(text)
    }

    /// The type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The kind, if this version knows it.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.0.split_once('.')?.0.parse().ok()
    }

    /// The action, if this version knows it.
    #[must_use]
    pub fn action(&self) -> Option<Action> {
        let action = self.0.split_once('.')?.1;
        Action::ALL.into_iter().find(|known| known.as_str() == action)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One event: its type, and the project as it was then.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What happened.
    pub event_type: EventType,
    /// The project.
    pub payload: Payload,
}

impl Event {
    /// The status that it carries: the higher of what its type and its payload say.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        Status::higher(self.event_type.action().map(Action::status), self.payload.status)
    }

    /// Whether this version knows its type and its status: if not, a later one may read more of it.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.event_type.kind().is_some() && self.event_type.action().is_some() && !self.payload.has_other_status
    }
}

/// Why an authentic body is no event. The sentence is for the sender and for the row that keeps the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not a JSON object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// `type` is missing or no string.
    #[error("the body has no `type` that is a string")]
    NoType,
    /// `payload.id` is missing, no string, or no id; or it holds what is not text (U+0000, bytes that are not UTF-8, half a
    /// surrogate pair), so that another id could be taken for it.
    #[error("the body has no `payload.id` that is a string of 1 to 255 bytes of text")]
    NoId,
    /// `downloads` is longer than any that can be stored.
    #[error("`downloads` has more than {} entries", payload::MAX_DOWNLOADS)]
    TooManyDownloads,
}

/// Reads a webhook's body.
pub fn read(body: &[u8]) -> Result<Event, Unreadable> {
    let text = json::mend(body);
    let event = json::object(&text).ok_or(Unreadable::NotAnObject)?;
    let event_type = event.get("type").and_then(|raw| json::text(raw)).ok_or(Unreadable::NoType)?;
    let payload = event.get("payload").ok_or(Unreadable::NoId)?;
    let payload = payload::read(payload.get(), text.as_bytes() != body)?;
    Ok(Event { event_type: EventType::told(event_type), payload })
}

/// Reads the answer of a details call: the same object that an event carries as its payload.
#[must_use]
pub fn details(body: &[u8]) -> Option<Payload> {
    let text = json::mend(body);
    payload::read(&text, text.as_bytes() != body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::render::Status::{Canceled, Complete, Error, Queued, Rendering};

    fn status_of(event_type: &str, status: &str) -> Option<Status> {
        let body = format!(r#"{{"type":"{event_type}","payload":{{"id":"x","status":{status}}}}}"#);
        read(body.as_bytes()).unwrap().status()
    }

    #[test]
    fn the_nine_types_are_known() {
        for kind in Kind::ALL {
            for action in Action::ALL {
                let told = EventType::told(format!("{}.{}", kind.as_str(), action.as_str()));
                assert_eq!((told.kind(), told.action()), (Some(kind), Some(action)));
                assert_eq!(told, EventType::new(kind, action));
            }
        }
    }

    #[test]
    fn an_event_carries_the_higher_of_its_types_and_its_payloads_status() {
        let table = [
            ("video.started", "null", Some(Rendering)),
            ("video.started", r#""rendering""#, Some(Rendering)),
            ("video.started", r#""complete""#, Some(Complete)),
            ("image.completed", r#""rendering""#, Some(Complete)),
            ("audio.errored", r#""queued""#, Some(Error)),
            ("audio.errored", r#""archived""#, Some(Error)),
            ("video.canceled", r#""canceled""#, Some(Canceled)),
            ("video.queued", r#""queued""#, Some(Queued)),
            ("video.upscaled", r#""upscaled""#, None),
            ("video.upscaled", "7", None),
        ];
        for (event_type, status, expected) in table {
            assert_eq!(status_of(event_type, status), expected, "{event_type} {status}");
        }
    }

    #[test]
    fn what_this_version_does_not_know_is_said_to_be_unknown() {
        let known = |event_type: &str, status: &str| {
            let body = format!(r#"{{"type":"{event_type}","payload":{{"id":"x","status":{status}}}}}"#);
            read(body.as_bytes()).unwrap().is_known()
        };
        assert!(known("video.completed", r#""complete""#));
        assert!(known("video.completed", "null"));
        assert!(!known("video.completed", r#""archived""#));
        assert!(!known("video.canceled", r#""canceled""#));
        assert!(!known("model.completed", r#""complete""#));
        assert!(!known("video", r#""complete""#));
        assert!(!known("", r#""complete""#));
    }

    #[test]
    fn a_body_without_what_every_event_has_says_what_is_missing() {
        let table: [(&[u8], Unreadable); 16] = [
            (b"", Unreadable::NotAnObject),
            (b"not json", Unreadable::NotAnObject),
            (b"\xff\xfe\x00", Unreadable::NotAnObject),
            (b"[]", Unreadable::NotAnObject),
            (b"null", Unreadable::NotAnObject),
            (br#"{"type":"video.started""#, Unreadable::NotAnObject),
            (br#"{"type":"video.started","payload":{"id":"x"}} trailing"#, Unreadable::NotAnObject),
            (b"{}", Unreadable::NoType),
            (br#"{"type":7,"payload":{"id":"x"}}"#, Unreadable::NoType),
            (br#"{"type":"video.started"}"#, Unreadable::NoId),
            (br#"{"type":"video.started","payload":[]}"#, Unreadable::NoId),
            (br#"{"type":"video.started","payload":{}}"#, Unreadable::NoId),
            (br#"{"type":"video.started","payload":{"id":7}}"#, Unreadable::NoId),
            (br#"{"type":"video.started","payload":{"id":""}}"#, Unreadable::NoId),
            (br#"{"type":"video.started","payload":{"id":null}}"#, Unreadable::NoId),
            (br#"{"type":"video.started","payload":"x"}"#, Unreadable::NoId),
        ];
        for (body, expected) in table {
            assert_eq!(read(body), Err(expected), "{}", String::from_utf8_lossy(body));
        }
        let broken: [&[u8]; 3] = [
            br#"{"type":"video.started","payload":{"id":"a\u0000b"}}"#,
            br#"{"type":"video.started","payload":{"id":"a\ud800b"}}"#,
            b"{\"type\":\"video.started\",\"payload\":{\"id\":\"a\xffb\"}}",
        ];
        for body in broken {
            assert_eq!(read(body), Err(Unreadable::NoId), "distinct ids would become one");
        }
        let replacement = "{\"type\":\"video.started\",\"payload\":{\"id\":\"a\u{fffd}b\"}}";
        assert_eq!(read(replacement.as_bytes()).unwrap().payload.id.as_str(), "a\u{fffd}b", "this is text");
        let long = format!(r#"{{"type":"video.started","payload":{{"id":"{}"}}}}"#, "x".repeat(256));
        assert_eq!(read(long.as_bytes()), Err(Unreadable::NoId));
    }

    #[test]
    fn a_long_type_is_bounded_at_a_character() {
        let event_type = EventType::told(format!("video.{}", "я".repeat(500)));
        assert!(event_type.as_str().len() <= 200);
        assert_eq!(event_type.kind(), Some(Kind::Video));
    }
}
