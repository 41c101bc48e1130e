//! Checkpoints: the saved states of partial uploads.
//!
//! Guaranteed: only the worker with the lease of a download reads and writes its checkpoint. The next worker finds it, and
//! resumes or aborts the upload.

use chrono::{DateTime, Utc};

use crate::archive::queue::{Lease, LeaseError};
use crate::runtime::{BACKGROUND_TIMEOUT, Database, DatabaseError};

/// The saved state of a partial upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The store's reference to the upload.
    pub upload: String,
    /// The number of bytes that the store has durably.
    pub bytes: u64,
    /// The state of the hashes after these bytes.
    pub hashes: Vec<u8>,
    /// Identifies the version of the file.
    pub validator: Option<String>,
    /// The length of the whole file.
    pub total: Option<u64>,
    /// The path of its URL.
    pub path: String,
    /// The media type of the upload.
    pub content_type: String,
}

/// Reads the checkpoint of a claimed download.
pub(super) async fn find(database: &Database, lease: &Lease) -> Result<Option<Checkpoint>, DatabaseError> {
    let row = sqlx::query!(
        "SELECT c.upload, c.bytes, c.hash_state, c.validator, c.total_bytes, c.url_path, c.content_type
         FROM checkpoints AS c JOIN downloads AS d USING (render_id, index)
         WHERE render_id = $1 AND index = $2 AND d.lease = $3",
        lease.render_id().as_str(),
        lease.index(),
        lease.token(),
    );
    let row = database.with_timeout(BACKGROUND_TIMEOUT, row.fetch_optional(database.pool())).await?;
    Ok(row.map(|row| Checkpoint {
        upload: row.upload,
        bytes: row.bytes.unsigned_abs(),
        hashes: row.hash_state,
        validator: row.validator,
        total: row.total_bytes.map(i64::unsigned_abs),
        path: row.url_path,
        content_type: row.content_type,
    }))
}

/// Saves a checkpoint, under the lease.
pub(super) async fn save(
    database: &Database,
    lease: &Lease,
    checkpoint: &Checkpoint,
    now: DateTime<Utc>,
) -> Result<(), LeaseError> {
    let saved = sqlx::query!(
        "WITH held AS (
             SELECT render_id, index FROM downloads WHERE render_id = $1 AND index = $2 AND lease = $3 FOR UPDATE
         )
         INSERT INTO checkpoints (
             render_id, index, upload, bytes, hash_state, validator, total_bytes, url_path, content_type, updated_at
         )
         SELECT render_id, index, $4, $5, $6, $7, $8, $9, $10, $11 FROM held
         ON CONFLICT (render_id, index) DO UPDATE SET
             upload = excluded.upload, bytes = excluded.bytes, hash_state = excluded.hash_state,
             validator = excluded.validator, total_bytes = excluded.total_bytes, url_path = excluded.url_path,
             content_type = excluded.content_type, updated_at = excluded.updated_at",
        lease.render_id().as_str(),
        lease.index(),
        lease.token(),
        checkpoint.upload,
        checkpoint.bytes.cast_signed(),
        checkpoint.hashes,
        checkpoint.validator,
        checkpoint.total.map(u64::cast_signed),
        checkpoint.path,
        checkpoint.content_type,
        now,
    );
    let saved = database.with_timeout(BACKGROUND_TIMEOUT, saved.execute(database.pool())).await?;
    LeaseError::unless(saved.rows_affected() == 1)
}

/// Deletes the checkpoint, under the lease.
pub(super) async fn delete(database: &Database, lease: &Lease) -> Result<(), DatabaseError> {
    let deleted = sqlx::query!(
        "DELETE FROM checkpoints AS c USING downloads AS d
         WHERE c.render_id = $1 AND c.index = $2 AND d.render_id = c.render_id AND d.index = c.index AND d.lease = $3",
        lease.render_id().as_str(),
        lease.index(),
        lease.token(),
    );
    // OK if there is none.
    database.with_timeout(BACKGROUND_TIMEOUT, deleted.execute(database.pool())).await.map(drop)
}
