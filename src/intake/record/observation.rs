//! An observation: what one event or one poll says about a render.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::stored_delivery::StoredDelivery;
use crate::domain::{
    DownloadEntry, Event, EventType, Kind, Payload, PayloadFields, RenderId, Status, UnreadableEvent, string_enum,
};
use crate::intake::signature::Verified;

/// Where an observation comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A webhook.
    Webhook,
    /// The details API.
    Poll,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 2] = [Self::Webhook, Self::Poll];

    /// The name in the database, answers, and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Poll => "poll",
        }
    }
}

string_enum!(Source);

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
    /// The id of the stored delivery that is replayed.
    pub(super) replayed_delivery: Option<i64>,
}

impl Observation {
    /// Parses a verified delivery. Only signed bodies can be recorded, because nothing else parses them.
    pub fn webhook(verified: &Verified) -> Result<Self, UnreadableEvent> {
        let delivery = verified.delivery();
        // A verified delivery always has a timestamp.
        let observed_at = delivery.sent_at.unwrap_or(delivery.received_at);
        let event = Event::parse(&delivery.body)?;
        Ok(Self { lag_ms: delivery.lag_ms(), body: Some(delivery.body.clone()), ..Self::event(event, observed_at) })
    }

    /// Parses a stored delivery again.
    pub fn replay(delivery: &StoredDelivery) -> Result<Self, UnreadableEvent> {
        let event = Event::parse(&delivery.body)?;
        let observed_at = delivery.sent_at.unwrap_or(delivery.received_at);
        Ok(Self { lag_ms: delivery.lag_ms, replayed_delivery: Some(delivery.id), ..Self::event(event, observed_at) })
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
            replayed_delivery: None,
        }
    }

    /// The answer of the details API to a call made at `called_at`.
    #[must_use]
    pub fn poll(kind: Kind, payload: Payload, called_at: DateTime<Utc>) -> Self {
        Self {
            source: Source::Poll,
            event_type: None,
            kind: Some(kind),
            status: payload.status,
            known: !payload.has_unknown_status,
            render_id: payload.id,
            payload_fields: payload.fields,
            downloads: payload.downloads,
            observed_at: called_at,
            lag_ms: None,
            body: None,
            replayed_delivery: None,
        }
    }

    /// The render's id.
    #[must_use]
    pub fn render_id(&self) -> &RenderId {
        &self.render_id
    }

    /// The render's kind, if known.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// The reported status, if known.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.status
    }

    /// Whether this version knows its type and status.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// The source.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// The event type; `None` for a poll.
    #[must_use]
    pub fn event_type(&self) -> Option<&EventType> {
        self.event_type.as_ref()
    }

    /// The size of its body.
    pub(super) fn body_bytes(&self) -> usize {
        self.body.as_ref().map_or(0, Bytes::len)
    }

    /// Whether it settles if the status is `error` or `canceled`.
    pub(super) fn confirms_failure(&self) -> bool {
        self.source == Source::Poll && self.status.is_some_and(Status::is_failure)
    }

    /// The files to copy. Only complete renders have any.
    pub(super) fn files(&self) -> &[DownloadEntry] {
        if self.status == Some(Status::Complete) { &self.downloads } else { &[] }
    }
}
