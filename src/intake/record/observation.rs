//! An observation: what one event or one poll says about a render.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::kept::Kept;
use super::rule::Fields;
use crate::domain::event;
use crate::domain::{DownloadEntry, Event, EventType, Kind, Payload, PayloadFields, RenderId, Status, UnreadableEvent};
use crate::intake::signature::Verified;

/// What reported something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A webhook.
    Webhook,
    /// The details API.
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

/// What one event or one poll says about a render.
#[derive(Debug, Clone)]
pub struct Observation {
    pub(super) source: Source,
    pub(super) event_type: Option<EventType>,
    pub(super) render_id: RenderId,
    pub(super) kind: Option<Kind>,
    pub(super) status: Option<Status>,
    pub(super) known: bool,
    pub(super) payload_fields: PayloadFields,
    pub(super) downloads: Vec<DownloadEntry>,
    pub(super) observed_at: DateTime<Utc>,
    pub(super) lag_ms: Option<i64>,
    pub(super) body: Option<Bytes>,
    /// The delivery that was stored before, of which this is read again.
    pub(super) kept: Option<i64>,
}

impl Observation {
    /// What a verified delivery says. Its body is read here and nowhere else, which ties what is recorded to what was
    /// signed.
    pub fn webhook(verified: &Verified) -> Result<Self, UnreadableEvent> {
        let delivery = verified.delivery();
        // OK because a delivery without a time is never verified; if it were, now is the later bound.
        let observed_at = delivery.sent_at.unwrap_or(delivery.received_at);
        let event = event::parse(&delivery.body)?;
        Ok(Self { lag_ms: delivery.lag_ms(), body: Some(delivery.body.clone()), ..Self::event(event, observed_at) })
    }

    /// What a delivery says that was verified and stored when it came, read as this version reads it.
    pub fn reread(kept: &Kept) -> Result<Self, UnreadableEvent> {
        let event = event::parse(&kept.body)?;
        let observed_at = kept.sent_at.unwrap_or(kept.received_at);
        Ok(Self { lag_ms: kept.lag_ms, kept: Some(kept.id), ..Self::event(event, observed_at) })
    }

    pub(super) fn event(event: Event, observed_at: DateTime<Utc>) -> Self {
        Self {
            source: Source::Webhook,
            kind: event.event_type.kind(),
            status: event.status(),
            known: event.is_known(),
            render_id: event.payload.id,
            payload_fields: event.payload.fields,
            downloads: event.payload.downloads,
            event_type: Some(event.event_type),
            observed_at,
            lag_ms: None,
            body: None,
            kept: None,
        }
    }

    /// What the details API answered to a call of `asked_at`.
    #[must_use]
    pub fn poll(kind: Kind, payload: Payload, asked_at: DateTime<Utc>) -> Self {
        Self {
            source: Source::Poll,
            event_type: None,
            kind: Some(kind),
            status: payload.status,
            known: !payload.has_unknown_status,
            render_id: payload.id,
            payload_fields: payload.fields,
            downloads: payload.downloads,
            observed_at: asked_at,
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

    /// The status that it says, if this version knows it.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// Whether this version knows its type and its status.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// What told us.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// The event's type, if it was an event.
    #[must_use]
    pub fn event_type(&self) -> Option<&EventType> {
        self.event_type.as_ref()
    }

    /// How many bytes of memory its body takes.
    pub(super) fn body_bytes(&self) -> usize {
        self.body.as_ref().map_or(0, Bytes::len)
    }

    /// What it says of the render's other fields.
    pub(super) fn fields(&self) -> Fields {
        Fields::observed(&self.payload_fields, self.status, self.observed_at)
    }

    /// Whether it says for good which of `error` and `canceled` a render has come to.
    pub(super) fn confirms_failure(&self) -> bool {
        self.source == Source::Poll && self.status.is_some_and(Status::is_failure)
    }

    /// The files to copy: they are there once the render is complete, and not before.
    pub(super) fn files(&self) -> &[DownloadEntry] {
        if self.status == Some(Status::Complete) { &self.downloads } else { &[] }
    }
}
