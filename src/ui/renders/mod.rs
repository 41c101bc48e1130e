//! Renders: the list, and the page of one.

mod downloads;
mod history;
mod list;
mod media;
mod notices;
mod one;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;

pub(super) use self::list::list;
pub(super) use self::one::get;
use super::error::UiError;
use crate::domain::RenderId;

/// The render in a path. Text that is no id cannot belong to a known render.
pub(super) fn render_in_path(path: Result<Path<String>, PathRejection>) -> Result<RenderId, UiError> {
    path.ok().and_then(|Path(id)| id.parse().ok()).ok_or_else(unknown_render)
}

pub(super) fn unknown_render() -> UiError {
    UiError::not_found(
        "There is no render with this id. Has its webhook arrived, or does it belong to another account?",
    )
}
