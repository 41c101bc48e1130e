//! A word: one thing that was said of a render, by a webhook or by the details call.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::kept::Kept;
use crate::domain::event;
use crate::domain::{Entry, Event, EventType, Facts, Nullable, Payload, Unreadable};
use crate::domain::{Kind, RenderId, Status, rank_of};
use crate::intake::signature::Verified;

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A webhook.
    Webhook,
    /// The details call.
    Poll,
}

impl Source {
    /// The word in rows, answers and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Poll => "poll",
        }
    }
}

/// One thing that was said of a render.
#[derive(Debug, Clone)]
pub struct Observation {
    pub(super) source: Source,
    pub(super) event_type: Option<EventType>,
    pub(super) render_id: RenderId,
    pub(super) kind: Option<Kind>,
    pub(super) status: Option<Status>,
    pub(super) known: bool,
    pub(super) facts: Facts,
    pub(super) downloads: Vec<Entry>,
    pub(super) said_at: DateTime<Utc>,
    pub(super) lag_ms: Option<i64>,
    pub(super) body: Option<Bytes>,
    /// The delivery that was kept before, of which this is read again.
    pub(super) kept: Option<i64>,
}

impl Observation {
    /// What a verified delivery says. Reading its body here, and nowhere else, ties what is recorded to what was signed.
    pub fn webhook(verified: &Verified) -> Result<Self, Unreadable> {
        let delivery = verified.delivery();
        // OK because a delivery without a time is never verified; were it so, now is the later bound.
        let said_at = delivery.sent_at.unwrap_or(delivery.received_at);
        let event = event::read(&delivery.body)?;
        Ok(Self { lag_ms: delivery.lag_ms(), body: Some(delivery.body.clone()), ..Self::event(event, said_at) })
    }

    /// What a delivery says that was verified and kept when it came, read as this version reads it.
    pub fn reread(kept: &Kept) -> Result<Self, Unreadable> {
        let event = event::read(&kept.body)?;
        let said_at = kept.sent_at.unwrap_or(kept.received_at);
        Ok(Self { lag_ms: kept.lag_ms, kept: Some(kept.id), ..Self::event(event, said_at) })
    }

    fn event(event: Event, said_at: DateTime<Utc>) -> Self {
        Self {
            source: Source::Webhook,
            kind: event.event_type.kind(),
            status: event.status(),
            known: event.is_known(),
            render_id: event.payload.id,
            facts: event.payload.facts,
            downloads: event.payload.downloads,
            event_type: Some(event.event_type),
            said_at,
            lag_ms: None,
            body: None,
            kept: None,
        }
    }

    /// What the details call answered to a question of `asked_at`.
    #[must_use]
    pub fn poll(kind: Kind, payload: Payload, asked_at: DateTime<Utc>) -> Self {
        Self {
            source: Source::Poll,
            event_type: None,
            kind: Some(kind),
            status: payload.status,
            known: !payload.has_other_status,
            render_id: payload.id,
            facts: payload.facts,
            downloads: payload.downloads,
            said_at: asked_at,
            lag_ms: None,
            body: None,
            kept: None,
        }
    }

    /// Which render it is about.
    #[must_use]
    pub fn render_id(&self) -> &RenderId {
        &self.render_id
    }

    /// The render's kind, if this version knows it.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// The status that it tells, if this version knows it.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// Whether this version knows its type and its status.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Who said it.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// The event's type, if an event said it.
    #[must_use]
    pub fn event_type(&self) -> Option<&EventType> {
        self.event_type.as_ref()
    }

    /// Each field with the rank and the time that decide which word about it is the newest. A render that is complete
    /// has not failed, whatever was said of it on the way.
    pub(super) fn told(&self) -> Value {
        let mut facts = self.facts.clone();
        if self.status == Some(Status::Complete) {
            facts.error = Some(Nullable::Null);
        }
        let Ok(Value::Object(facts)) = serde_json::to_value(facts) else { return json!({}) };
        let (rank, said_at) = (self.rank(), self.said_at.timestamp_micros());
        facts.into_iter().map(|(field, value)| (field, json!([rank, said_at, value]))).collect::<Map<_, _>>().into()
    }

    pub(super) fn rank(&self) -> i16 {
        rank_of(self.status)
    }

    /// The files to copy: they are there once the render is complete, and not before.
    pub(super) fn files(&self) -> &[Entry] {
        if self.status == Some(Status::Complete) { &self.downloads } else { &[] }
    }
}
