//! Puts a file back in the queue whose object is missing or different.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::StoredFileRecord;
use crate::archive::locked_renders::LockedRenders;
use crate::runtime::{BACKGROUND_TIMEOUT, Database, DatabaseError, Tallies, Wakeups, begin};

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairOutcome {
    /// It is downloaded again, with a fresh URL if its own has expired. Until then, its render is not stored.
    Queued,
    /// Its project was deleted at Magic Hour, so it cannot be downloaded again.
    Gone,
    /// Its record has changed meanwhile: it was erased or stored anew.
    Changed,
}

/// Queues the download of a file again.
pub async fn repair(
    database: &Database,
    file: &StoredFileRecord,
    now: DateTime<Utc>,
) -> Result<RepairOutcome, DatabaseError> {
    database.with_timeout_and_retry(BACKGROUND_TIMEOUT, || Box::pin(queue_again(database.pool(), file, now))).await
}

async fn queue_again(pool: &PgPool, file: &StoredFileRecord, now: DateTime<Utc>) -> sqlx::Result<RepairOutcome> {
    let mut transaction = begin(pool, "BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    let mut renders = LockedRenders::lock(&mut transaction, &[file.render_id.as_str()]).await?;
    let is_deleted = sqlx::query_scalar!(
        r#"SELECT (deleted OR deletion IS NOT DISTINCT FROM 'deleted') AS "deleted!" FROM renders WHERE id = $1"#,
        file.render_id,
    );
    match (is_deleted.fetch_optional(&mut *transaction).await?, renders.get_mut(&file.render_id)) {
        (Some(true), _) => return Ok(RepairOutcome::Gone),
        (Some(false), Some(render)) => render.files.stored -= 1,
        _ => return Ok(RepairOutcome::Changed),
    }
    let queued = sqlx::query!(
        "UPDATE downloads
         SET state = 'pending', due_at = $4, ready = true, attempts = 0, error_code = 'object_damaged',
             error_message = 'the stored object is missing or different, so the file is downloaded again',
             content_type = NULL, size_bytes = NULL, sha256 = NULL, stored_at = NULL, updated_at = $4
         WHERE render_id = $1 AND index = $2 AND state = 'stored' AND sha256 = $3 AND url IS NOT NULL",
        file.render_id,
        file.index,
        file.sha256,
        now,
    );
    if queued.execute(&mut *transaction).await?.rows_affected() == 0 {
        return Ok(RepairOutcome::Changed);
    }
    sqlx::query!("SELECT pg_notify($1, '')", Wakeups::DOWNLOADS).execute(&mut *transaction).await?;
    let mut tallies = Tallies::default();
    renders.write(&mut transaction, &mut tallies, now).await?;
    tallies.write(&mut transaction).await?;
    transaction.commit().await?;
    Ok(RepairOutcome::Queued)
}
