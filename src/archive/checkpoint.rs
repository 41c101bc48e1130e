//! What the store has of a file that is on its way: rows of `checkpoints`.
//!
//! Guaranteed: only who holds the download's lease reads and writes here. What an earlier worker left is there for its successor,
//! who goes on with it or ends it.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::archive::queue::{Lease, LeaseLost};

/// A file that is not whole yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partial {
    /// How the store finds it.
    pub upload: String,
    /// How many bytes the store has for good.
    pub bytes: u64,
    /// The state of the hashes after them.
    pub hashes: Vec<u8>,
    /// What names the version of the file.
    pub validator: Option<String>,
    /// The length of the whole.
    pub total: Option<u64>,
    /// The path of its URL.
    pub path: String,
    /// Its media type, with which the upload was begun.
    pub content_type: String,
}

/// Reads what there is of a claimed download.
pub(super) async fn find(pool: &PgPool, lease: &Lease) -> sqlx::Result<Option<Partial>> {
    let row = sqlx::query!(
        "SELECT p.upload, p.bytes, p.hash_state, p.validator, p.total_bytes, p.url_path, p.content_type
         FROM checkpoints AS p JOIN downloads AS d USING (render_id, index)
         WHERE render_id = $1 AND index = $2 AND d.lease = $3",
        lease.render_id().as_str(),
        lease.index(),
        lease.token(),
    );
    Ok(row.fetch_optional(pool).await?.map(|row| Partial {
        upload: row.upload,
        bytes: row.bytes.unsigned_abs(),
        hashes: row.hash_state,
        validator: row.validator,
        total: row.total_bytes.map(i64::unsigned_abs),
        path: row.url_path,
        content_type: row.content_type,
    }))
}

/// Keeps what there is, under the lease.
pub(super) async fn keep(
    pool: &PgPool,
    lease: &Lease,
    partial: &Partial,
    now: DateTime<Utc>,
) -> sqlx::Result<Result<(), LeaseLost>> {
    let number = |number: u64| i64::try_from(number).map_err(|error| sqlx::Error::Encode(Box::new(error)));
    let kept = sqlx::query!(
        "WITH held AS (
             SELECT render_id, index FROM downloads WHERE render_id = $1 AND index = $2 AND lease = $3 FOR UPDATE
         )
         INSERT INTO checkpoints (render_id, index, upload, bytes, hash_state, validator, total_bytes, url_path, content_type, updated_at)
         SELECT render_id, index, $4, $5, $6, $7, $8, $9, $10, $11 FROM held
         ON CONFLICT (render_id, index) DO UPDATE SET
             upload = excluded.upload, bytes = excluded.bytes, hash_state = excluded.hash_state,
             validator = excluded.validator, total_bytes = excluded.total_bytes, url_path = excluded.url_path,
             content_type = excluded.content_type, updated_at = excluded.updated_at",
        lease.render_id().as_str(),
        lease.index(),
        lease.token(),
        partial.upload,
        number(partial.bytes)?,
        partial.hashes,
        partial.validator,
        partial.total.map(number).transpose()?,
        partial.path,
        partial.content_type,
        now,
    );
    Ok(LeaseLost::unless(kept.execute(pool).await?.rows_affected() == 1))
}

/// Forgets what there was, under the lease.
pub(super) async fn forget(pool: &PgPool, lease: &Lease) -> sqlx::Result<()> {
    let forgotten = sqlx::query!(
        "DELETE FROM checkpoints AS p USING downloads AS d
         WHERE p.render_id = $1 AND p.index = $2 AND d.render_id = p.render_id AND d.index = p.index AND d.lease = $3",
        lease.render_id().as_str(),
        lease.index(),
        lease.token(),
    );
    // OK that none may be there: what counts is that none is left.
    forgotten.execute(pool).await.map(drop)
}
