//! What an application asks about renders: the handlers under `/renders`.
//!
//! `GET /renders/{id}` is here. With `?wait=` the answer comes as soon as the render is finished or the time is up; the
//! caller is woken by Postgres, and looks by itself as well.

pub(super) mod list;
pub(super) mod track;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use crate::api::files::FileServing;
use crate::api::queries::{self, Render};
use crate::archive::Selection;
use crate::archive::Store;
use crate::archive::retry;
use crate::domain::RenderId;
use crate::http::{BodyReader, Guarded, HttpError, Message};
use crate::runtime::Clock;
use crate::runtime::Shutdown;
use crate::runtime::Wakeups;
use crate::runtime::{Database, REQUEST};

/// The longest that a caller may wait.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// How often a waiting caller's render is looked at without a wake-up call.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// What asking needs.
#[derive(Debug)]
pub struct Renders {
    /// Where the rows are.
    pub database: Database,
    /// Where the objects are.
    pub store: Store,
    /// How they are served.
    pub files: FileServing,
    /// What time it is.
    pub clock: Clock,
    /// What wakes who waits.
    pub wakeups: Arc<Wakeups>,
    /// Who waits is answered when the service stops.
    pub shutdown: Shutdown,
    /// Reads the bodies of requests.
    pub bodies: BodyReader,
}

/// The parameters of the question.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// How long to wait for the render to finish: up to `60s`, such as `30s`.
    wait: Option<String>,
}

/// A render with its downloads and transitions
///
/// With `wait`, as soon as the render is finished, or when the time is up.
#[utoipa::path(
    get,
    path = "/renders/{id}",
    operation_id = "get_render",
    tag = "renders",
    params(("id" = String, Path, description = "Magic Hour's id of the render."), Parameters),
    responses(
        (status = 200, description = "The render.", body = Render),
        (status = 400, description = "A parameter is wrong.", body = Message),
        (status = 404, description = "Nobody has told of this render.", body = Message),
        Guarded,
    ),
)]
pub(super) async fn get(
    State(renders): State<Arc<Renders>>,
    id: Result<Path<String>, PathRejection>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Render>, HttpError> {
    let Path(id) = id.map_err(|_| unknown_render())?;
    let Query(parameters) = parameters.map_err(|error| HttpError::bad_request(error.body_text()))?;
    let wait = parameters.wait.as_deref().map(wait).transpose()?.unwrap_or_default();
    renders.find(&render_id(&id)?, wait).await.map(Json)
}

/// An id from a path. What is no id names no render.
pub(crate) fn render_id(text: &str) -> Result<RenderId, HttpError> {
    text.parse().map_err(|_| unknown_render())
}

fn unknown_render() -> HttpError {
    HttpError::not_found("no render with this id was heard of: has its webhook come, or is the id of another account?")
}

/// A closed list in words.
fn one_of(words: &[&str]) -> String {
    format!("one of {}", words.join(", "))
}

fn wait(text: &str) -> Result<Duration, HttpError> {
    let wait = humantime::parse_duration(text).ok().filter(|wait| *wait <= LONGEST_WAIT);
    wait.ok_or_else(|| HttpError::bad_request("`wait` must be a length of time up to 60s, such as 30s"))
}

/// The answer to a request to try failed downloads again.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Retried {
    /// What was done, in a sentence.
    message: &'static str,
    /// The indices of the downloads that are in the queue again.
    downloads: Vec<i32>,
}

/// Puts the failed downloads of a render back in the queue
#[utoipa::path(
    post,
    path = "/renders/{id}/retry",
    operation_id = "retry_render",
    tag = "renders",
    params(("id" = String, Path, description = "Magic Hour's id of the render.")),
    responses(
        (status = 200, description = "Which of them are in the queue again; perhaps none.", body = Retried),
        (status = 404, description = "Nobody has told of this render.", body = Message),
        Guarded,
    ),
)]
pub(super) async fn retry(
    State(renders): State<Arc<Renders>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Retried>, HttpError> {
    let Path(id) = id.map_err(|_| unknown_render())?;
    let id = render_id(&id)?;
    let pool = renders.database.pool();
    let known = queries::render(pool, &renders.store, &id);
    renders.database.within(REQUEST, known).await?.ok_or_else(unknown_render)?;
    let selection = Selection::render(id);
    let put_back = retry::put_back(pool, &selection, renders.clock.now());
    let put_back = renders.database.within(REQUEST, put_back).await?;
    let message = if put_back.is_empty() {
        "no download of this render has failed that has a URL to try again"
    } else {
        "in the queue again"
    };
    Ok(Json(Retried { message, downloads: put_back.into_iter().map(|file| file.index).collect() }))
}

impl Renders {
    async fn find(&self, id: &RenderId, wait: Duration) -> Result<Render, HttpError> {
        let until = Instant::now() + wait;
        let mut changes = self.wakeups.renders(); // before the first look, so that no change falls in between
        loop {
            let found = queries::render(self.database.pool(), &self.store, id);
            let render = self.database.within(REQUEST, found).await?.ok_or_else(unknown_render)?;
            if render.is_finished() || Instant::now() >= until || self.shutdown.is_stopping() {
                return Ok(render);
            }
            tokio::select! {
                () = changes.of(id) => {}
                () = self.shutdown.stopping() => {}
                () = tokio::time::sleep_until(until.min(Instant::now() + LOOK_AGAIN)) => {}
            }
        }
    }
}
