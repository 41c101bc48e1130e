//! The files of a group of troubled downloads, a page at a time.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::domain::DownloadState;

/// A file whose last attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ui) struct TroubledFile {
    pub(in crate::ui) render_id: String,
    pub(in crate::ui) index: i32,
    pub(in crate::ui) message: String,
    pub(in crate::ui) attempts: i32,
    pub(in crate::ui) has_url: bool,
    pub(in crate::ui) updated_at: DateTime<Utc>,
    pub(in crate::ui) due_at: Option<DateTime<Utc>>,
    pub(in crate::ui) expires_at: Option<DateTime<Utc>>,
}

/// Which files.
#[derive(Debug, Clone)]
pub(in crate::ui) struct TroubledFiles {
    pub(in crate::ui) state: DownloadState,
    pub(in crate::ui) error_code: String,
    /// Only those after this one.
    pub(in crate::ui) after: Option<(String, i32)>,
}

/// Some files, in the order of their renders' ids.
#[derive(Debug, Clone)]
pub(in crate::ui) struct TroubledFilePage {
    pub(in crate::ui) files: Vec<TroubledFile>,
    /// Whether there are more.
    pub(in crate::ui) has_more: bool,
}

pub(in crate::ui) async fn troubled_files(
    pool: &PgPool,
    wanted: &TroubledFiles,
    limit: u16,
) -> sqlx::Result<TroubledFilePage> {
    let (render_id, index) = wanted.after.clone().unzip();
    let rows = sqlx::query_as!(
        TroubledFile,
        r#"SELECT render_id, index, error_message AS "message!", attempts, url IS NOT NULL AS "has_url!", updated_at, due_at,
               expires_at
           FROM downloads
           WHERE state = $1 AND error_code = $2 AND error_code IS NOT NULL AND state IN ('pending', 'failed')
               AND (render_id, index) > (coalesce($3, ''), coalesce($4, -1))
           ORDER BY state, error_code, render_id, index
           LIMIT $5"#,
        wanted.state.as_str(),
        wanted.error_code,
        render_id,
        index,
        i64::from(limit) + 1,
    );
    let mut files = rows.fetch_all(pool).await?;
    let has_more = files.len() > usize::from(limit);
    files.truncate(limit.into());
    Ok(TroubledFilePage { files, has_more })
}
