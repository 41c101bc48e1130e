//! The handlers under `/renders`: one render, the list, announcing, retrying.

pub(super) mod announce;
pub(super) mod get;
pub(super) mod list;
pub(super) mod retry;

use std::error::Error as _;
use std::sync::Arc;

use axum::extract::Path;
use axum::extract::rejection::{PathRejection, QueryRejection};

use crate::api::files::FileServing;
use crate::archive::Store;
use crate::domain::RenderId;
use crate::http::{BodyReader, HttpError};
use crate::runtime::{Clock, Database, Shutdown, Wakeups};

/// What the handlers need.
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
    /// Wakes waiting callers when a render changes.
    pub wakeups: Arc<Wakeups>,
    /// Waiting callers are answered when the service stops.
    pub shutdown: Shutdown,
    /// Reads the bodies of requests.
    pub bodies: BodyReader,
}

/// The id in a path. Text that cannot be an id names no render.
pub(super) fn render_id(text: &str) -> Result<RenderId, HttpError> {
    text.parse().map_err(|_| unknown_render())
}

fn id_in_path(id: Result<Path<String>, PathRejection>) -> Result<RenderId, HttpError> {
    let Path(id) = id.map_err(|_| unknown_render())?;
    render_id(&id)
}

fn unknown_render() -> HttpError {
    HttpError::not_found(
        "no render with this id is known: has its webhook arrived, or does the id belong to another account?",
    )
}

/// 400 for a query string that cannot be read, with the reader's own words but without its prefix.
fn bad_query(rejection: &QueryRejection) -> HttpError {
    let cause = rejection.source().map_or_else(|| rejection.body_text(), ToString::to_string);
    HttpError::bad_request(format!("the query string is invalid: {cause}"))
}

/// A closed list in words.
fn one_of(words: &[&str]) -> String {
    format!("one of {}", words.join(", "))
}
