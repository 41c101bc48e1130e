//! `GET /renders/{id}`. With `?wait=`, the answer is sent as soon as the render is finished or the time is up. Postgres
//! notifications wake the handler, which also reads the render again at intervals.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::{ApiState, id_in_path, unknown_render};
use crate::api::parameters;
use crate::domain::RenderId;
use crate::http::{CommonErrors, HttpError, Message};
use crate::runtime::REQUEST_TIMEOUT;
use crate::views::{self, RenderView};

/// How often the render is read while waiting, without a notification.
const READ_INTERVAL: Duration = Duration::from_secs(2);

/// The query parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GetParameters {
    /// How long to wait for the render to finish: at most `60s`.
    #[param(pattern = "^([0-5]?[0-9]|60)s$", example = "30s")]
    wait: Option<String>,
}

/// Get a render with its downloads and transitions
///
/// With `wait`, the answer is sent as soon as the render is finished, or when the time is up.
#[utoipa::path(
    get,
    path = "/renders/{id}",
    operation_id = "get_render",
    tag = "renders",
    params(
        ("id" = String, Path, min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$", description = "Magic Hour's id of the render.", example = "clx123"),
        GetParameters,
    ),
    responses(
        (status = 200, description = "The render.", body = RenderView),
        (status = 400, description = "A parameter is invalid.", body = Message),
        (status = 404, description = "The render is unknown.", body = Message),
        CommonErrors,
    ),
)]
pub(crate) async fn get(
    State(state): State<Arc<ApiState>>,
    id: Result<Path<String>, PathRejection>,
    parameters: Result<Query<GetParameters>, QueryRejection>,
) -> Result<Json<RenderView>, HttpError> {
    let id = id_in_path(id)?;
    let Query(parameters) = parameters.map_err(|rejection| parameters::bad_query(&rejection))?;
    let wait = parameters::wait(parameters.wait.as_ref())?;
    state.find(&id, wait).await.map(Json)
}

impl ApiState {
    async fn find(&self, id: &RenderId, wait: Duration) -> Result<RenderView, HttpError> {
        let deadline = Instant::now() + wait;
        let mut changes = self.wakeups.subscribe_to_renders(); // before the first read, so that no change is missed
        loop {
            let found = views::render(self.database.pool(), &self.store, id);
            let render = self.database.with_timeout(REQUEST_TIMEOUT, found).await?.ok_or_else(unknown_render)?;
            if render.is_finished() || Instant::now() >= deadline || self.shutdown.is_stopping() {
                return Ok(render);
            }
            tokio::select! {
                () = changes.wait_for(id) => {}
                () = self.shutdown.wait_for_stop() => {}
                () = tokio::time::sleep_until(deadline.min(Instant::now() + READ_INTERVAL)) => {}
            }
        }
    }
}
