//! Failed downloads go back in the queue, when a person says so.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::domain::RenderId;
use crate::runtime::file_counts;

/// Which failed downloads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this render alone.
    pub render: Option<RenderId>,
    /// That failed since then.
    pub since: Option<DateTime<Utc>>,
}

impl Selection {
    /// Those of one render.
    #[must_use]
    pub fn render(id: RenderId) -> Self {
        Self { render: Some(id), since: None }
    }
}

/// A failed download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Whose file.
    pub render_id: String,
    /// Which.
    pub index: i32,
    /// Why it failed.
    pub code: String,
    /// The whole story.
    pub message: String,
}

/// The failed downloads that [`put_back`] would put back.
pub async fn which(pool: &PgPool, selection: &Selection) -> sqlx::Result<Vec<Failed>> {
    sqlx::query_as!(
        Failed,
        r#"SELECT render_id, index, error_code AS "code!", error_message AS "message!"
           FROM downloads
           WHERE state = 'failed' AND url IS NOT NULL
               AND ($1::text IS NULL OR render_id = $1) AND ($2::timestamptz IS NULL OR updated_at >= $2)
           ORDER BY render_id, index"#,
        selection.render.as_ref().map(RenderId::as_str),
        selection.since,
    )
    .fetch_all(pool)
    .await
}

/// Puts failed downloads back in the queue, due at once and with all their attempts before them. One that came without
/// a URL has nothing to try.
pub async fn put_back(pool: &PgPool, selection: &Selection, now: DateTime<Utc>) -> sqlx::Result<Vec<Failed>> {
    let mut renders: Vec<_> = which(pool, selection).await?.into_iter().map(|failed| failed.render_id).collect();
    renders.dedup();
    let renders: Vec<&str> = renders.iter().map(String::as_str).collect();
    let mut transaction = pool.begin().await?;
    file_counts::lock(&mut transaction, &renders).await?;
    let failed = sqlx::query_as!(
        Failed,
        r#"WITH failed AS (
               SELECT render_id, index, error_code, error_message
               FROM downloads
               WHERE state = 'failed' AND url IS NOT NULL
                   AND render_id = ANY ($1) AND ($2::timestamptz IS NULL OR updated_at >= $2)
               ORDER BY render_id, index
               FOR UPDATE
           ),
           put_back AS (
               UPDATE downloads AS d
               SET state = 'pending', due_at = $3, attempts = 0, first_attempt_at = NULL, updated_at = $3
               FROM failed
               WHERE d.render_id = failed.render_id AND d.index = failed.index
               RETURNING d.render_id
           ),
           woken AS MATERIALIZED (
               SELECT pg_notify('renderhook_downloads', '') WHERE EXISTS (SELECT FROM put_back)
           )
           SELECT render_id, index, error_code AS "code!", error_message AS "message!"
           FROM failed
           WHERE (SELECT count(*) FROM woken) >= 0
           ORDER BY render_id, index"#,
        &renders as _,
        selection.since,
        now,
    )
    .fetch_all(&mut *transaction)
    .await?;
    file_counts::recount(&mut transaction, &renders, None).await?;
    transaction.commit().await?;
    Ok(failed)
}
