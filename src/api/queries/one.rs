//! One render.

use sqlx::PgPool;

use super::render::Render;
use super::row::told;
use crate::archive::Store;
use crate::domain::RenderId;

/// Reads a render with its downloads and transitions; `None` if nobody has told of it.
pub async fn render(pool: &PgPool, store: &Store, id: &RenderId) -> sqlx::Result<Option<Render>> {
    let row = told!("renders", "WHERE r.id = $1", id.as_str()).fetch_optional(pool).await?;
    Ok(row.map(|row| row.shown(store)))
}
