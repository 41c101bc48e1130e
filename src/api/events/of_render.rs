//! `GET /renders/{id}/events`: what happens to one render, as a stream.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::stream::{StreamedEvent, last_event_id};
use super::{EVENT_STREAM, cursor, types};
use crate::api::parameters::QueryParameters;
use crate::api::renders::{ApiState, RenderInPath, RenderPath};
use crate::domain::{NotificationType, RenderId};
use crate::feed::{FeedCursor, FeedFilter};
use crate::http::{CommonErrors, HttpError, InFlightPlace, Message, preferred};
use crate::streams::{PageLimit, end_cursor};

/// The query parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RenderEventsParameters {
    /// The `id` of an event. Without it, the stream begins with the render's oldest event that is kept.
    #[param(pattern = "^[A-Za-z0-9_-]{16}$")]
    after: Option<String>,
    /// The types of events, comma-separated; all by default.
    #[param(pattern = "^[a-z.]+(,[a-z.]+)*$", example = "render.ready,download.stored")]
    types: Option<String>,
}

/// Follow a render
///
/// A stream of server-sent events: first the events of the render that are kept, then each new one. `event` is
/// the type, `data` the event as in the feed, and `id` its cursor. The last event is `end`: the render is finished, or the
/// service stops. `reset` means that the cursor has expired, and that the stream begins again.
#[utoipa::path(
    get,
    path = "/renders/{id}/events",
    operation_id = "stream_render_events",
    tag = "events",
    params(
        RenderPath,
        RenderEventsParameters,
        ("Last-Event-ID" = Option<String>, Header, pattern = "^([A-Za-z0-9_-]{16}(\\.end)?)?$", description = "The `id` of the last event that was received. It takes precedence over `after`."),
    ),
    responses(
        (status = 200, description = "The stream.", body = StreamedEvent, content_type = "text/event-stream"),
        (status = 204, description = "The client has received the `end` of a finished render, and nothing has happened since."),
        (status = 400, description = "A parameter is invalid, unknown or repeated.", body = Message),
        (status = 404, description = "The render is unknown.", body = Message),
        (status = 406, description = "The client does not accept `text/event-stream`.", body = Message),
        CommonErrors,
    ),
)]
pub(crate) async fn get(
    State(state): State<Arc<ApiState>>,
    Extension(in_flight): Extension<InFlightPlace>,
    RenderInPath(id): RenderInPath,
    headers: HeaderMap,
    QueryParameters(parameters): QueryParameters<RenderEventsParameters>,
) -> Result<Response, HttpError> {
    let after = cursor("after", parameters.after.as_deref())?;
    let types = types(parameters.types.as_deref(), NotificationType::ALL.to_vec())?;
    if preferred(&headers, &[EVENT_STREAM]).is_none() {
        let message = "this is a stream: accept text/event-stream; GET /renders/{id} is the render as JSON";
        return Err(HttpError::new(StatusCode::NOT_ACCEPTABLE, message));
    }
    let place = state.hold(&in_flight)?;
    state.must_know(&id).await?;
    let filter = FeedFilter { types, render: Some(id.clone()) };
    if let Some(end) = last_event_id(&headers)?.and_then(end_cursor) {
        let end = cursor("Last-Event-ID", Some(end))?;
        if state.has_ended(&id, end).await? {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        return state.start_stream(filter, end, place).await;
    }
    state.stream(filter, after, &headers, place).await
}

impl ApiState {
    /// Whether a finished render has no events after the end that a client received.
    async fn has_ended(&self, id: &RenderId, end: Option<FeedCursor>) -> Result<bool, HttpError> {
        if !self.reader.read(id).await?.is_some_and(|render| render.is_finished()) {
            return Ok(false);
        }
        let all = FeedFilter { types: NotificationType::ALL.to_vec(), render: Some(id.clone()) };
        let page = self.events.page(&all, end, PageLimit { events: 1, weight: 0 }).await;
        // What cannot be read is reported by the stream.
        Ok(page.is_ok_and(|page| page.events.is_empty()))
    }
}
