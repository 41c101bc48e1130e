//! `POST /renders/{id}/retry`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Renders, id_in_path, unknown_render};
use crate::api::queries;
use crate::archive::{RetryFilter, retry};
use crate::http::{Guarded, HttpError, Message};
use crate::runtime::REQUEST;

/// The answer to a request to retry failed downloads.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Retried {
    /// What was done, in a sentence.
    message: &'static str,
    /// The indices of the downloads that went back in the queue.
    downloads: Vec<i32>,
}

/// Put the failed downloads of a render back in the queue
///
/// They are due at once, with all their attempts. A download without a URL is skipped.
#[utoipa::path(
    post,
    path = "/renders/{id}/retry",
    operation_id = "retry_render",
    tag = "renders",
    params(("id" = String, Path, min_length = 1, max_length = 255, description = "Magic Hour's id of the render.", example = "clx123")),
    responses(
        (status = 200, description = "Which downloads went back in the queue; perhaps none.", body = Retried),
        (status = 404, description = "The render is unknown.", body = Message),
        Guarded,
    ),
)]
pub(crate) async fn retry(
    State(renders): State<Arc<Renders>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Retried>, HttpError> {
    let id = id_in_path(id)?;
    let pool = renders.database.pool();
    renders.database.within(REQUEST, queries::exists(pool, &id)).await?.then_some(()).ok_or_else(unknown_render)?;
    let retried = retry::retry(&renders.database, &RetryFilter::render(id), renders.clock.now()).await?;
    let message = if retried.is_empty() {
        "no download of this render has failed and has a URL to try"
    } else {
        "back in the queue"
    };
    Ok(Json(Retried { message, downloads: retried.into_iter().map(|file| file.index).collect() }))
}
