//! The handlers for `/renders`.

mod announce;
mod erase;
mod get;
mod list;
mod notify;
mod retry;

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::access::Need;
use crate::api::file_serving::FileServing;
use crate::api::guard::RouteGuard;
use crate::archive::Store;
use crate::domain::RenderId;
use crate::feed::PostedTypes;
use crate::http::{BodyReader, HttpError};
use crate::runtime::{Clock, Database, REQUEST_TIMEOUT, Shutdown};
use crate::streams::{EventReader, Hub};
use crate::views::{self, RenderReader};

/// The state that the handlers share.
#[derive(Debug)]
pub struct ApiState {
    /// The database.
    pub database: Database,
    /// The store.
    pub store: Store,
    /// Reads single renders.
    pub reader: RenderReader,
    /// How stored files are served.
    pub files: FileServing,
    /// The clock.
    pub clock: Clock,
    /// Reads events.
    pub events: EventReader,
    /// Passes events on to streams and waiting callers.
    pub hub: Arc<Hub>,
    /// Whether there is an API key, so that projects can be deleted.
    pub has_api_key: bool,
    /// The types of notifications that are posted.
    pub posted: PostedTypes,
    /// Answers waiting callers when the service stops.
    pub shutdown: Shutdown,
    /// Reads request bodies.
    pub bodies: BodyReader,
}

/// The path parameters of a route below `/renders/{id}`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct RenderPath {
    /// Magic Hour's id of the render.
    #[param(min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$", example = "clx123")]
    id: String,
}

/// The routes below `/renders` that answer with JSON.
pub(super) fn routes(guard: &RouteGuard) -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(guard.requires(Need::Read, routes!(list::get)))
        .routes(guard.requires(Need::Read, routes!(get::get)))
        .routes(guard.requires(Need::Act, routes!(announce::put)))
        .routes(guard.requires(Need::Act, routes!(erase::erase)))
        .routes(guard.requires(Need::Act, routes!(retry::retry)))
        .routes(guard.requires(Need::Act, routes!(notify::notify)))
}

/// Parses the id in a path. Text that is not a valid id cannot belong to a known render.
pub(super) fn render_id(text: &str) -> Result<RenderId, HttpError> {
    text.parse().map_err(|_| unknown_render())
}

/// The id in the path of a route below `/renders/{id}`. An invalid one gets the answer of an unknown one.
pub(super) struct RenderInPath(pub(super) RenderId);

impl<S: Send + Sync> FromRequestParts<S> for RenderInPath {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let path = Path::<RenderPath>::from_request_parts(parts, state).await;
        let Path(path) = path.map_err(|_| unknown_render())?;
        render_id(&path.id).map(Self)
    }
}

impl ApiState {
    /// 404 if there is no such render.
    pub(super) async fn must_know(&self, id: &RenderId) -> Result<(), HttpError> {
        let is_known = views::exists(self.database.pool(), id);
        let is_known = self.database.with_timeout(REQUEST_TIMEOUT, is_known).await?;
        is_known.then_some(()).ok_or_else(unknown_render)
    }
}

fn unknown_render() -> HttpError {
    HttpError::not_found(
        "there is no render with this id: has its webhook arrived, or does the id belong to another account?",
    )
}
