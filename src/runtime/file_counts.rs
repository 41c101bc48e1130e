//! The columns of `renders` that count its files. They are updated under the lock of the render's row, in the transaction
//! that changes a file.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::{ArchiveState, FileCounts};
use crate::runtime::Tallies;

/// Locks these renders in the order of their ids. To prevent deadlocks, always lock renders before their downloads.
pub async fn lock_renders(transaction: &mut PgConnection, ids: &[&str]) -> sqlx::Result<()> {
    let locked = sqlx::query!("SELECT FROM renders WHERE id = ANY ($1) ORDER BY id FOR UPDATE", ids as _);
    locked.execute(transaction).await.map(drop)
}

/// Counts the files of these renders, which must be locked, and updates the counts, the archive state, and the totals.
/// `changed_at` becomes `updated_at`, unless it is `None`.
pub async fn recount(
    transaction: &mut PgConnection,
    ids: &[&str],
    changed_at: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    let rows = sqlx::query!(
        r#"SELECT r.id, r.status, r.archive, r.files_total, r.files_stored, r.files_failed,
               count(d.state)::int AS "total!",
               count(*) FILTER (WHERE d.state = 'stored')::int AS "stored!",
               count(*) FILTER (WHERE d.state = 'failed')::int AS "failed!"
           FROM renders AS r LEFT JOIN downloads AS d ON d.render_id = r.id
           WHERE r.id = ANY ($1)
           GROUP BY r.id"#,
        ids as _,
    )
    .fetch_all(&mut *transaction)
    .await?;
    let mut tallies = Tallies::default();
    for row in rows {
        let before = FileCounts { total: row.files_total, stored: row.files_stored, failed: row.files_failed };
        let after = FileCounts { total: row.total, stored: row.stored, failed: row.failed };
        let status = row.status.as_deref().and_then(|status| status.parse().ok());
        tallies.add_files(before, after);
        let written = sqlx::query!(
            "UPDATE renders
             SET files_total = $2, files_stored = $3, files_failed = $4, archive = $5,
                 updated_at = greatest(updated_at, $6)
             WHERE id = $1",
            row.id,
            after.total,
            after.stored,
            after.failed,
            ArchiveState::of(status, after).as_str(),
            changed_at,
        );
        written.execute(&mut *transaction).await?;
    }
    tallies.write(transaction).await
}
