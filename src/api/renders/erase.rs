//! `DELETE /renders/{id}`: erases a render.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{ApiState, RenderInPath, RenderPath, unknown_render};
use crate::api::parameters::QueryParameters;
use crate::erasure::{ErasureProgress, ErasureSource, request_erasure};
use crate::http::{CommonErrors, HttpError, Message};

/// The query parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EraseParameters {
    /// Whether to delete the project at Magic Hour, too. That cannot be undone, and needs `MAGIC_HOUR_API_KEY`.
    #[serde(default)]
    upstream: bool,
}

/// How far an erasure is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErasureResult {
    /// A message for people.
    message: &'static str,
    /// When everything was gone; `null` while it is under way.
    #[schema(required = true)]
    erased_at: Option<DateTime<Utc>>,
}

/// Erase a render
///
/// Removes its name, metadata, and errors, the bodies of its deliveries, its objects, and unfinished uploads. What stays is a
/// tombstone: its id, kind, status, credits, and times. It can be repeated, to see how far it is.
#[utoipa::path(
    delete,
    path = "/renders/{id}",
    operation_id = "erase_render",
    tag = "renders",
    params(RenderPath, EraseParameters),
    responses(
        (status = 200, description = "The render is erased.", body = ErasureResult),
        (status = 202, description = "It is being erased.", body = ErasureResult),
        (status = 400, description = "A parameter is invalid.", body = Message),
        (status = 404, description = "The render is unknown.", body = Message),
        CommonErrors,
    ),
)]
pub(crate) async fn erase(
    State(state): State<Arc<ApiState>>,
    RenderInPath(id): RenderInPath,
    QueryParameters(EraseParameters { upstream }): QueryParameters<EraseParameters>,
) -> Result<(StatusCode, Json<ErasureResult>), HttpError> {
    if upstream && !state.has_api_key {
        return Err(HttpError::bad_request(
            "`upstream` needs MAGIC_HOUR_API_KEY: without a key, no project can be deleted",
        ));
    }
    let requested = request_erasure(&state.database, &id, upstream, ErasureSource::Api, state.clock.now()).await?;
    Ok(match requested.ok_or_else(unknown_render)? {
        ErasureProgress::Running => {
            let message = "the render is being erased: repeat this request to see whether it is done";
            (StatusCode::ACCEPTED, Json(ErasureResult { message, erased_at: None }))
        }
        ErasureProgress::Done { erased_at } => {
            (StatusCode::OK, Json(ErasureResult { message: "the render is erased", erased_at: Some(erased_at) }))
        }
    })
}
