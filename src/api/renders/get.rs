//! `GET /renders/{id}`. With `?wait=`, the answer is sent as soon as the render is finished or the time is up. The handler
//! reads the render again only when the feed reports its end.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::{ApiState, RenderInPath, RenderPath, unknown_render};
use crate::api::parameters::{self, QueryParameters};
use crate::domain::RenderId;
use crate::http::{CommonErrors, HttpError, InFlightPlace, Message};
use crate::streams::{Arrival, LiveEvent, Subscription};
use crate::views::RenderView;

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
        RenderPath,
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
    Extension(in_flight): Extension<InFlightPlace>,
    RenderInPath(id): RenderInPath,
    QueryParameters(parameters): QueryParameters<GetParameters>,
) -> Result<Json<RenderView>, HttpError> {
    let wait = parameters::wait(parameters.wait.as_ref())?;
    if wait.is_zero() {
        return state.find(&id).await.map(Json);
    }
    let _place = state.hold(&in_flight)?;
    state.wait_for_end(&id, wait).await.map(Json)
}

impl ApiState {
    async fn find(&self, id: &RenderId) -> Result<RenderView, HttpError> {
        self.reader.read(id).await?.ok_or_else(unknown_render)
    }

    async fn wait_for_end(&self, id: &RenderId, wait: Duration) -> Result<RenderView, HttpError> {
        let deadline = Instant::now() + wait;
        let mut changes = self.subscribe(Some(id)).await?; // before the first read, so that no change is missed
        loop {
            let render = self.find(id).await?;
            if render.is_finished() || Instant::now() >= deadline || self.shutdown.is_stopping() {
                return Ok(render);
            }
            tokio::select! {
                () = may_be_finished(&mut changes) => {}
                () = self.shutdown.wait_for_stop() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }
}

/// Waits until the subscription's render may be finished.
async fn may_be_finished(changes: &mut Subscription) {
    loop {
        match changes.next().await {
            Arrival::Events(events) if events.iter().any(LiveEvent::may_end_render) => return,
            Arrival::Events(_) => {}
            Arrival::Missed => return,
        }
    }
}
