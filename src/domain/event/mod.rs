//! Parses webhook events and the answers of Magic Hour's details API.
//!
//! Guaranteed: a JSON body with a `type` and a `payload.id` always parses to an [`Event`], however odd the rest of it is.
//! Each field is parsed by itself, and a field that is missing or malformed counts as absent. New event types, statuses,
//! and fields may appear without notice, so unknown values are kept.

mod json;
mod output;
mod payload;

use std::fmt;

use crate::domain::render::{Kind, Status};

pub use self::output::{Measure, OutputField, OutputFields};
pub use self::payload::{DownloadEntry, Nullable, Payload, PayloadFields, RenderError, SignedUrl};

/// The part of an event type after the dot: what happened to the render.
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

    /// The string used in webhooks: `started`, `completed`, or `errored`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Errored => "errored",
        }
    }

    /// The status that the action implies.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Started => Status::Rendering,
            Self::Completed => Status::Complete,
            Self::Errored => Status::Error,
        }
    }
}

/// The `type` of an event, `{kind}.{action}`: kept as received, up to a maximum length.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventType(String);

impl EventType {
    /// The maximum length, in bytes. The type is part of the key that identifies duplicates.
    const MAX_BYTES: usize = 200;

    /// The type for `kind` and `action`.
    #[must_use]
    pub fn new(kind: Kind, action: Action) -> Self {
        Self(format!("{kind}.{}", action.as_str()))
    }

    /// A type as received, cut to the maximum length.
    #[must_use]
    pub fn from_text(mut text: String) -> Self {
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
        let text = self.0.split_once('.')?.1;
        Action::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event: its type, and the project at the time it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What happened.
    pub event_type: EventType,
    /// The project.
    pub payload: Payload,
}

impl Event {
    /// Parses the body of a webhook.
    pub fn parse(body: &[u8]) -> Result<Self, UnreadableEvent> {
        let text = json::replace_invalid_text(body);
        let event = json::parse_object(&text).ok_or(UnreadableEvent::NotAnObject)?;
        let event_type = event.get("type").and_then(|raw| json::parse_string(raw)).ok_or(UnreadableEvent::NoType)?;
        let payload = event.get("payload").ok_or(UnreadableEvent::NoId)?;
        let payload = payload::parse(payload.get(), text.as_bytes() != body)?;
        Ok(Self { event_type: EventType::from_text(event_type), payload })
    }

    /// The status that the event reports: the higher of those implied by its type and by its payload.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        Status::higher(self.event_type.action().map(Action::status), self.payload.status)
    }

    /// Whether this version knows both its type and its status. If not, a later version may get more out of the event.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.event_type.kind().is_some() && self.event_type.action().is_some() && !self.payload.has_unknown_status
    }
}

impl Payload {
    /// Parses an answer of the details API: the same object that an event has as its payload.
    #[must_use]
    pub fn from_details(body: &[u8]) -> Option<Self> {
        let text = json::replace_invalid_text(body);
        payload::parse(&text, text.as_bytes() != body).ok()
    }
}

/// Why an authentic body is not an event. The message is sent to the sender and stored with the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableEvent {
    /// Not a JSON object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// `type` is missing or not a string.
    #[error("the body has no `type` that is a string")]
    NoType,
    /// `payload.id` is missing or not a valid id. Also if it contains something that is not text (U+0000, invalid UTF-8, a
    /// lone surrogate): after replacement, it could equal another render's id.
    #[error("the body has no `payload.id` that is a string of 1 to 255 characters")]
    NoId,
    /// `downloads` has more entries than can be stored.
    #[error("`downloads` has more than {} entries", payload::MAX_DOWNLOADS)]
    TooManyDownloads,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Status::{Canceled, Complete, Error, Queued, Rendering};

    fn status_of(event_type: &str, status: &str) -> Option<Status> {
        let body = format!(r#"{{"type":"{event_type}","payload":{{"id":"x","status":{status}}}}}"#);
        Event::parse(body.as_bytes()).unwrap().status()
    }

    #[test]
    fn all_nine_event_types_are_known() {
        for kind in Kind::ALL {
            for action in Action::ALL {
                let event_type = EventType::from_text(format!("{}.{}", kind.as_str(), action.as_str()));
                assert_eq!((event_type.kind(), event_type.action()), (Some(kind), Some(action)));
                assert_eq!(event_type, EventType::new(kind, action));
            }
        }
    }

    #[test]
    fn an_event_reports_the_higher_of_the_statuses_of_its_type_and_its_payload() {
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
    fn an_event_with_an_unknown_type_or_status_is_not_known() {
        let known = |event_type: &str, status: &str| {
            let body = format!(r#"{{"type":"{event_type}","payload":{{"id":"x","status":{status}}}}}"#);
            Event::parse(body.as_bytes()).unwrap().is_known()
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
    fn a_body_without_a_required_part_is_rejected_with_the_reason() {
        let table: [(&[u8], UnreadableEvent); 16] = [
            (b"", UnreadableEvent::NotAnObject),
            (b"not json", UnreadableEvent::NotAnObject),
            (b"\xff\xfe\x00", UnreadableEvent::NotAnObject),
            (b"[]", UnreadableEvent::NotAnObject),
            (b"null", UnreadableEvent::NotAnObject),
            (br#"{"type":"video.started""#, UnreadableEvent::NotAnObject),
            (br#"{"type":"video.started","payload":{"id":"x"}} trailing"#, UnreadableEvent::NotAnObject),
            (b"{}", UnreadableEvent::NoType),
            (br#"{"type":7,"payload":{"id":"x"}}"#, UnreadableEvent::NoType),
            (br#"{"type":"video.started"}"#, UnreadableEvent::NoId),
            (br#"{"type":"video.started","payload":[]}"#, UnreadableEvent::NoId),
            (br#"{"type":"video.started","payload":{}}"#, UnreadableEvent::NoId),
            (br#"{"type":"video.started","payload":{"id":7}}"#, UnreadableEvent::NoId),
            (br#"{"type":"video.started","payload":{"id":""}}"#, UnreadableEvent::NoId),
            (br#"{"type":"video.started","payload":{"id":null}}"#, UnreadableEvent::NoId),
            (br#"{"type":"video.started","payload":"x"}"#, UnreadableEvent::NoId),
        ];
        for (body, expected) in table {
            assert_eq!(Event::parse(body), Err(expected), "{}", String::from_utf8_lossy(body));
        }
        let broken: [&[u8]; 3] = [
            br#"{"type":"video.started","payload":{"id":"a\u0000b"}}"#,
            br#"{"type":"video.started","payload":{"id":"a\ud800b"}}"#,
            b"{\"type\":\"video.started\",\"payload\":{\"id\":\"a\xffb\"}}",
        ];
        for body in broken {
            assert_eq!(Event::parse(body), Err(UnreadableEvent::NoId), "two different ids would become one");
        }
        let replacement = "{\"type\":\"video.started\",\"payload\":{\"id\":\"a\u{fffd}b\"}}";
        assert_eq!(
            Event::parse(replacement.as_bytes()).unwrap().payload.id.as_str(),
            "a\u{fffd}b",
            "U+FFFD itself is text"
        );
        let long = format!(r#"{{"type":"video.started","payload":{{"id":"{}"}}}}"#, "x".repeat(256));
        assert_eq!(Event::parse(long.as_bytes()), Err(UnreadableEvent::NoId));
    }

    #[test]
    fn a_long_type_is_cut_at_a_character_boundary() {
        let event_type = EventType::from_text(format!("video.{}", "я".repeat(500)));
        assert!(event_type.as_str().len() <= 200);
        assert_eq!(event_type.kind(), Some(Kind::Video));
    }
}
