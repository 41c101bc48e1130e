//! Looks at one render.

use sqlx::PgPool;
use tracing::error;

use super::row::{RenderRow, UnreadableRow};
use super::view::RenderView;
use crate::archive::Store;
use crate::domain::RenderId;
use crate::runtime::LogEvent;

/// Whether a render is known.
pub async fn exists(pool: &PgPool, id: &RenderId) -> sqlx::Result<bool> {
    let found = sqlx::query_scalar!("SELECT 1 FROM renders WHERE id = $1", id.as_str()).fetch_optional(pool).await?;
    Ok(found.is_some())
}

/// The view of a render. One that cannot be read is logged and left out, so that the others are still returned.
pub(super) fn view_or_log(row: RenderRow, store: &Store) -> Option<RenderView> {
    let id = row.id.clone();
    let logged = |unreadable: UnreadableRow| {
        error!(event = %LogEvent::RenderUnreadable, render.id = id, error = %unreadable, "a render cannot be read and is left out: please report this");
    };
    row.view(store).map_err(logged).ok()
}
