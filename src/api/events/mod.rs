//! The handlers for the feed: a page at a time, or as a stream.

mod list;
mod of_render;
mod stream;
mod waiting;

use std::sync::Arc;

use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::Need;
use super::guard::RouteGuard;
use super::parameters;
use super::renders::ApiState;
use crate::domain::NotificationType;
use crate::feed::FeedCursor;
use crate::http::HttpError;

/// The media type of a stream.
const EVENT_STREAM: &str = "text/event-stream";

/// The routes of the feed.
pub(super) fn routes(guard: &RouteGuard) -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(guard.requires(Need::Read, routes!(list::get)))
        .routes(guard.requires(Need::Read, routes!(of_render::get)))
}

/// The cursor in a parameter or header.
fn cursor(name: &str, text: Option<&str>) -> Result<Option<FeedCursor>, HttpError> {
    let cursor = text.map(str::parse).transpose();
    cursor.map_err(|_| parameters::must_be(name, "the `next_cursor`, the `cursor` or the `id` of an earlier answer"))
}

/// The types that are asked for.
fn types(list: Option<&str>, default: Vec<NotificationType>) -> Result<Vec<NotificationType>, HttpError> {
    let Some(list) = list else { return Ok(default) };
    let types: Result<Vec<_>, _> = list.split(',').map(|text| text.trim().parse::<NotificationType>()).collect();
    let all = || parameters::one_of(&NotificationType::ALL.map(NotificationType::as_str));
    types.map_err(|_| parameters::must_be("types", &format!("a comma-separated list, each {}", all())))
}

/// 410.
fn expired() -> HttpError {
    HttpError::new(
        StatusCode::GONE,
        "the cursor has expired: events after it are not kept any more, or it belongs to another database; \
         read the renders that you need with GET /renders, then the feed without `after`",
    )
}
