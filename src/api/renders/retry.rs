//! `POST /renders/{id}/retry`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Renders, bad_query, id_in_path, unknown_render};
use crate::api::queries;
use crate::archive::{RetryFilter, RetryState, retry};
use crate::http::{CommonErrors, HttpError, Message};
use crate::runtime::REQUEST_TIMEOUT;

/// The query parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Parameters {
    /// Which downloads: the failed ones, which get all their attempts again, or those that wait for their next attempt.
    #[serde(default)]
    #[param(default = "failed")]
    state: RetryableState,
}

/// In which state downloads can be retried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RetryableState {
    #[default]
    Failed,
    Pending,
}

/// The answer to a request to retry downloads.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Retried {
    /// What was done, in a sentence.
    message: &'static str,
    /// The indices of the downloads that are due now.
    downloads: Vec<i32>,
}

/// Retry the downloads of a render
///
/// Its failed downloads go back in the queue with all their attempts, or its waiting ones are due now. A download without
/// a URL is skipped.
#[utoipa::path(
    post,
    path = "/renders/{id}/retry",
    operation_id = "retry_render",
    tag = "renders",
    params(("id" = String, Path, min_length = 1, max_length = 255, description = "Magic Hour's id of the render.", example = "clx123"), Parameters),
    responses(
        (status = 200, description = "Which downloads are due now; perhaps none.", body = Retried),
        (status = 400, description = "A parameter is invalid.", body = Message),
        (status = 404, description = "The render is unknown.", body = Message),
        CommonErrors,
    ),
)]
pub(crate) async fn retry(
    State(renders): State<Arc<Renders>>,
    id: Result<Path<String>, PathRejection>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Retried>, HttpError> {
    let id = id_in_path(id)?;
    let Query(parameters) = parameters.map_err(|rejection| bad_query(&rejection))?;
    let pool = renders.database.pool();
    renders
        .database
        .with_timeout(REQUEST_TIMEOUT, queries::exists(pool, &id))
        .await?
        .then_some(())
        .ok_or_else(unknown_render)?;
    let filter = RetryFilter { state: parameters.state.into(), ..RetryFilter::render(id) };
    let retried = retry::retry(&renders.database, &filter, renders.clock.now()).await?;
    let message = match (parameters.state, retried.is_empty()) {
        (RetryableState::Failed, true) => "no download of this render has failed and has a URL to try",
        (RetryableState::Failed, false) => "back in the queue",
        (RetryableState::Pending, true) => "no download of this render waits for its next attempt",
        (RetryableState::Pending, false) => "due now",
    };
    Ok(Json(Retried { message, downloads: retried.into_iter().map(|file| file.index).collect() }))
}

impl From<RetryableState> for RetryState {
    fn from(state: RetryableState) -> Self {
        match state {
            RetryableState::Failed => Self::Failed,
            RetryableState::Pending => Self::Pending,
        }
    }
}
