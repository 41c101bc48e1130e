//! Answers that are streams of server-sent events.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{EVENT_STREAM, cursor};
use crate::api::parameters;
use crate::api::renders::ApiState;
use crate::domain::RenderId;
use crate::feed::{FeedCursor, FeedFilter};
use crate::http::{HeldPlace, HttpError, InFlightPlace};
use crate::runtime::REQUEST_TIMEOUT;
use crate::streams::{EventStream, Subscription};

/// The header with the `id` of the last event that a client received.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// An event of a stream. A stream is a sequence of them, and of comments.
#[derive(ToSchema)]
#[schema(as = ServerSentEvent)]
#[expect(dead_code, reason = "only used for the OpenAPI document")]
pub(super) struct StreamedEvent {
    /// The type, or `reset` if events were missed, or `end`.
    #[schema(required = false, example = "render.ready")]
    event: Option<String>,
    /// The cursor, to continue after this event.
    #[schema(required = false)]
    id: Option<String>,
    /// JSON: the event as in a page of the feed. Of `reset` it has a `message`, of `end` a `reason`.
    #[schema(required = false)]
    data: Option<String>,
}

/// The text of `Last-Event-ID`; `None` if it is missing or empty.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, HttpError> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| parameters::must_be("Last-Event-ID", "the `id` of an earlier event"))
}

impl ApiState {
    /// Counts the request among those that wait instead of those in progress. Call it before anything that takes time,
    /// because thousands of clients reconnect at once when another process has ended.
    pub(crate) fn hold(&self, in_flight: &InFlightPlace) -> Result<HeldPlace, HttpError> {
        let place = self.hub.held.hold()?;
        in_flight.release();
        Ok(place)
    }

    /// Streams events after `Last-Event-ID`, or else after `after`.
    pub(super) async fn stream(
        &self,
        filter: FeedFilter,
        after: Option<FeedCursor>,
        headers: &HeaderMap,
        place: HeldPlace,
    ) -> Result<Response, HttpError> {
        let after = cursor("Last-Event-ID", last_event_id(headers)?)?.or(after);
        self.start_stream(filter, after, place).await
    }

    pub(super) async fn start_stream(
        &self,
        filter: FeedFilter,
        after: Option<FeedCursor>,
        place: HeldPlace,
    ) -> Result<Response, HttpError> {
        let subscription = self.subscribe(filter.render.as_ref()).await?;
        let stream = EventStream::new(self.hub.clone(), self.shutdown.clone(), subscription, filter, after, place);
        let frames = stream.into_frames().map(Ok::<_, std::convert::Infallible>);
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            // Tells nginx not to buffer the stream.
            (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        ];
        Ok((headers, Body::from_stream(frames)).into_response())
    }

    /// Subscribes to the events of a render, or to all; 503 if the database does not answer.
    pub(crate) async fn subscribe(&self, render: Option<&RenderId>) -> Result<Subscription, HttpError> {
        let started = timeout(REQUEST_TIMEOUT, Subscription::start(&self.hub, render)).await;
        started.map_err(|_elapsed| HttpError::unavailable())
    }
}
