//! Reads the renders with certain ids.

use std::collections::HashMap;

use sqlx::PgPool;

use super::one::view_or_log;
use super::row::select_renders;
use super::view::RenderView;
use crate::archive::Store;

/// Reads renders by id. One that is unknown or cannot be read is left out, and the latter is logged.
pub async fn renders(pool: &PgPool, store: &Store, ids: &[&str]) -> sqlx::Result<HashMap<String, RenderView>> {
    let rows = select_renders!(
        ["renders"],
        "NULL::shown_notification[]",
        "WHERE r.id = ANY ((SELECT $1::text[])::text[])",
        ids as _
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.id.clone(), view_or_log(row, store)?))).collect())
}
