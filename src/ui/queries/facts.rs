//! What the page of a render shows besides the render itself.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::domain::RenderId;

/// The state of polling a render.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ui) struct PollFacts {
    /// When it was last polled.
    pub(in crate::ui) polled_at: Option<DateTime<Utc>>,
    /// How many polls in a row have changed nothing.
    pub(in crate::ui) attempts: i32,
    /// When the next one is due, if that is already known.
    pub(in crate::ui) due_at: Option<DateTime<Utc>>,
    /// Whether a poll was requested.
    pub(in crate::ui) is_requested: bool,
    /// Whether the render has ended.
    pub(in crate::ui) is_finished: bool,
}

pub(in crate::ui) async fn poll_facts(pool: &PgPool, id: &RenderId) -> sqlx::Result<Option<PollFacts>> {
    let facts = sqlx::query_as!(
        PollFacts,
        "SELECT polled_at, poll_attempts AS attempts, nullif(poll_due_at, 'infinity') AS due_at,
             poll_requested AS is_requested, finished AS is_finished
         FROM renders WHERE id = $1",
        id.as_str(),
    );
    facts.fetch_optional(pool).await
}

/// When the URLs of files expire, by the index of the file.
pub(in crate::ui) type UrlExpiry = HashMap<i32, DateTime<Utc>>;

/// Of the files that are not stored.
pub(in crate::ui) async fn url_expiries(pool: &PgPool, id: &RenderId) -> sqlx::Result<UrlExpiry> {
    let rows = sqlx::query!(
        r#"SELECT index, expires_at AS "expires_at!" FROM downloads
           WHERE render_id = $1 AND state <> 'stored' AND expires_at IS NOT NULL AND expires_at <> 'infinity'"#,
        id.as_str(),
    );
    Ok(rows.fetch_all(pool).await?.into_iter().map(|row| (row.index, row.expires_at)).collect())
}
