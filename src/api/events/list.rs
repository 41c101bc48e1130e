//! `GET /events`: the feed, a page at a time, or as a stream. With `?wait=`, an empty page is held until something
//! happens.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::stream::StreamedEvent;
use super::{EVENT_STREAM, cursor, expired, types};
use crate::api::parameters::{self, PageSize, QueryParameters};
use crate::api::renders::ApiState;
use crate::domain::NotificationType;
use crate::feed::{FeedCursor, FeedFilter};
use crate::http::{CommonErrors, HttpError, InFlightPlace, Message, preferred};
use crate::streams::{EventPage, PageLimit, ReadError};
use crate::views::EventView;

const PAGE_SIZE: PageSize = PageSize { default: 100, max: 1_000 };
/// How many files and transitions of renders a page shows at most, unless its first event has more.
const MAX_PAGE_WEIGHT: usize = 20_000;

/// The query parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsParameters {
    /// The `next_cursor` of the previous page, or the `cursor` of an event. Without it, a page begins with the oldest
    /// event that is kept, and a stream with the next event that happens.
    #[param(pattern = "^[A-Za-z0-9_-]{16}$")]
    after: Option<String>,
    /// The page size. Ignored for a stream.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
    /// The types of events, comma-separated. By default, a page has all types that can be posted as notifications:
    /// `download.stored` and `download.failed` must be named. A stream has all types.
    #[param(pattern = "^[a-z.]+(,[a-z.]+)*$", example = "render.ready,download.stored")]
    types: Option<String>,
    /// How long to hold an empty answer: at most `60s`. Ignored for a stream.
    #[param(pattern = "^([0-5]?[0-9]|60)s$", example = "30s")]
    wait: Option<String>,
}

/// A page of the feed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventList {
    /// The events, in the order of the feed.
    events: Vec<EventView>,
    /// The `after` of the next page. Also given if there are no events: then nothing has happened yet.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{16}$")]
    next_cursor: FeedCursor,
}

impl From<EventPage> for EventList {
    fn from(page: EventPage) -> Self {
        Self { events: page.events, next_cursor: page.next }
    }
}

/// A request for a page of the feed.
pub(super) struct PageRequest {
    pub(super) filter: FeedFilter,
    pub(super) after: Option<FeedCursor>,
    pub(super) limit: u16,
    pub(super) wait: Duration,
}

/// Read the feed
///
/// Everything that happened to renders, oldest first: what is posted to `NOTIFY_URL`, and more. Following the cursors
/// returns every event exactly once, in one order. Events are kept for `EVENT_RETENTION`.
///
/// With `Accept: text/event-stream`, the answer is a stream of server-sent events, which reports what happens from now on:
/// `event` is the type, `data` the event as in a page, and `id` its cursor. `Last-Event-ID`, or else `after`, continues an
/// earlier stream or page. `reset` means that events were missed, `end` that the service stops.
#[utoipa::path(
    get,
    path = "/events",
    operation_id = "list_events",
    tag = "events",
    params(
        EventsParameters,
        ("Last-Event-ID" = Option<String>, Header, description = "For streams: the `id` of the last event that was received. It takes precedence over `after`."),
    ),
    responses(
        (status = 200, description = "A page of the feed, which may be empty, or a stream.", content(
            (EventList = "application/json"),
            (StreamedEvent = "text/event-stream"),
        )),
        (status = 400, description = "A parameter is invalid, unknown or repeated.", body = Message),
        (status = 410, description = "Events after the cursor are not kept any more, or it belongs to another database. Read the renders that you need, then the feed from its beginning.", body = Message),
        CommonErrors,
    ),
)]
pub(crate) async fn get(
    State(state): State<Arc<ApiState>>,
    Extension(in_flight): Extension<InFlightPlace>,
    headers: HeaderMap,
    QueryParameters(parameters): QueryParameters<EventsParameters>,
) -> Result<Response, HttpError> {
    let after = cursor("after", parameters.after.as_deref())?;
    let limit = PAGE_SIZE.limit(parameters.limit.as_ref())?;
    let wait = parameters::wait(parameters.wait.as_ref())?;
    if preferred(&headers, &["application/json", EVENT_STREAM]) == Some(EVENT_STREAM) {
        let types = types(parameters.types.as_deref(), NotificationType::ALL.to_vec())?;
        let place = state.hold(&in_flight)?;
        return state.stream(FeedFilter { types, render: None }, after, &headers, place).await;
    }
    let posted = NotificationType::ALL.into_iter().filter(|it| it.can_be_posted()).collect();
    let filter = FeedFilter { types: types(parameters.types.as_deref(), posted)?, render: None };
    let request = PageRequest { filter, after, limit, wait };
    if wait.is_zero() {
        return Ok(Json(EventList::from(state.page(&request, after).await?)).into_response());
    }
    let _place = state.hold(&in_flight)?;
    state.wait_for_events(&request).await
}

impl ApiState {
    pub(super) async fn page(&self, request: &PageRequest, after: Option<FeedCursor>) -> Result<EventPage, HttpError> {
        let limit = PageLimit { events: request.limit.into(), weight: MAX_PAGE_WEIGHT };
        self.events.page(&request.filter, after, limit).await.map_err(|error| match error {
            ReadError::Expired => expired(),
            ReadError::Unavailable(error) => error.into(),
        })
    }
}
