//! `POST /renders/{id}/retry`: retries downloads.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{ApiState, RenderInPath, RenderPath};
use crate::api::parameters::QueryParameters;
use crate::archive::{RetryFilter, RetryState, retry_downloads};
use crate::http::{CommonErrors, HttpError, Message};

/// The query parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RetryParameters {
    /// Which downloads to retry: `failed` ones, which start over with all attempts, or `pending` ones, which become due now.
    #[serde(default)]
    #[param(inline)]
    state: RetryableState,
}

/// The states in which downloads can be retried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(default = "failed")]
pub(crate) enum RetryableState {
    #[default]
    Failed,
    Pending,
}

/// The downloads that are due now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RetryResult {
    /// A message for people.
    message: &'static str,
    /// The indexes of the downloads that are due now.
    downloads: Vec<i32>,
}

/// Retry the downloads of a render
///
/// Puts failed downloads back in the queue with all their attempts, or makes waiting downloads due now. Downloads without
/// a URL are skipped.
#[utoipa::path(
    post,
    path = "/renders/{id}/retry",
    operation_id = "retry_render",
    tag = "renders",
    params(RenderPath, RetryParameters),
    responses(
        (status = 200, description = "The downloads that are due now. There may be none.", body = RetryResult),
        (status = 400, description = "A parameter is invalid.", body = Message),
        (status = 404, description = "The render is unknown.", body = Message),
        CommonErrors,
    ),
)]
pub(crate) async fn retry(
    State(state): State<Arc<ApiState>>,
    RenderInPath(id): RenderInPath,
    QueryParameters(parameters): QueryParameters<RetryParameters>,
) -> Result<Json<RetryResult>, HttpError> {
    state.must_know(&id).await?;
    let filter = RetryFilter { state: parameters.state.into(), ..RetryFilter::render(id) };
    let downloads = retry_downloads(&state.database, &filter, state.clock.now()).await?;
    let message = match (parameters.state, downloads.is_empty()) {
        (RetryableState::Failed, true) => "this render has no failed download with a URL",
        (RetryableState::Failed, false) => "back in the queue",
        (RetryableState::Pending, true) => "this render has no download that waits for its next attempt",
        (RetryableState::Pending, false) => "due now",
    };
    Ok(Json(RetryResult { message, downloads: downloads.into_iter().map(|file| file.index).collect() }))
}

impl From<RetryableState> for RetryState {
    fn from(state: RetryableState) -> Self {
        match state {
            RetryableState::Failed => Self::Failed,
            RetryableState::Pending => Self::Pending,
        }
    }
}
