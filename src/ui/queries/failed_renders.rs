//! Renders with the status `error`, grouped by error code.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::domain::{ArchiveState, Kind, Status};

/// How many of each kind are counted.
const LIMIT: i64 = 2_000;

/// The failed renders with one error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ui) struct FailedRenders {
    /// `None` if Magic Hour reported no code.
    pub(in crate::ui) error_code: Option<String>,
    /// The message of one of them.
    pub(in crate::ui) message: Option<String>,
    pub(in crate::ui) count: i64,
    pub(in crate::ui) oldest_at: DateTime<Utc>,
    pub(in crate::ui) newest_at: DateTime<Utc>,
}

/// Those first seen since `since`.
pub(in crate::ui) async fn failed_renders(pool: &PgPool, since: DateTime<Utc>) -> sqlx::Result<Vec<FailedRenders>> {
    let rows = sqlx::query_as!(
        FailedRenders,
        r#"SELECT failed.error_code, max(failed.error_message) AS message, count(*) AS "count!",
               min(failed.first_seen_at) AS "oldest_at!", max(failed.first_seen_at) AS "newest_at!"
           FROM unnest($1::text[]) AS of_kind (kind) CROSS JOIN unnest($2::text[]) AS of_archive (archive)
           CROSS JOIN LATERAL (
               SELECT error_code, error_message, first_seen_at FROM renders AS r
               WHERE r.kind = of_kind.kind AND r.archive = of_archive.archive AND r.status = $3 AND first_seen_at >= $4
               ORDER BY first_seen_at DESC, id DESC LIMIT $5
           ) AS failed
           GROUP BY failed.error_code
           ORDER BY count(*) DESC
           LIMIT 50"#,
        &Kind::ALL.map(Kind::as_str).to_vec() as _,
        &ArchiveState::ALL.map(ArchiveState::as_str).to_vec() as _,
        Status::Error.as_str(),
        since,
        LIMIT,
    );
    rows.fetch_all(pool).await
}
