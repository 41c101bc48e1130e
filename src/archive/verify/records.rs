//! The records of stored files.

use chrono::{DateTime, Utc};

use crate::domain::{ObjectKey, RenderId};
use crate::runtime::{BACKGROUND_TIMEOUT, Database, DatabaseError};

/// A stored file, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFileRecord {
    /// The render.
    pub render_id: String,
    /// Which of its files.
    pub index: i32,
    /// Where the object is.
    pub key: ObjectKey,
    /// The length of the object.
    pub size_bytes: u64,
    /// The SHA-256 of the object, in hex.
    pub sha256: String,
}

/// A position among the stored files, which are ordered by render id and index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePosition {
    /// The render.
    pub render_id: String,
    /// Which of its files.
    pub index: i32,
}

/// Which stored files to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredFileFilter {
    /// Only those of this render.
    pub render: Option<RenderId>,
    /// Only those stored at this time or later.
    pub since: Option<DateTime<Utc>>,
}

/// A page of at most `limit` stored files after `after`, in order.
pub async fn stored_files(
    database: &Database,
    filter: &StoredFileFilter,
    after: Option<&FilePosition>,
    limit: i64,
) -> Result<Vec<StoredFileRecord>, DatabaseError> {
    let rows = sqlx::query!(
        r#"SELECT render_id, index, key, size_bytes AS "size_bytes!", sha256 AS "sha256!"
           FROM downloads
           WHERE state = 'stored' AND (render_id, index) > ($1, $2)
               AND ($3::text IS NULL OR render_id = $3) AND ($4::timestamptz IS NULL OR stored_at >= $4)
           ORDER BY render_id, index
           LIMIT $5"#,
        after.map_or("", |it| it.render_id.as_str()),
        after.map_or(-1, |it| it.index),
        filter.render.as_ref().map(RenderId::as_str),
        filter.since,
        limit,
    );
    let rows = database.with_timeout(BACKGROUND_TIMEOUT, rows.fetch_all(database.pool())).await?;
    let files = rows.into_iter().map(|row| StoredFileRecord {
        render_id: row.render_id,
        index: row.index,
        key: ObjectKey::from_row(row.key),
        size_bytes: row.size_bytes.unsigned_abs(),
        sha256: row.sha256,
    });
    Ok(files.collect())
}

/// Whether the record is unchanged. The file may have been erased or stored anew while its object was read.
pub async fn is_current(database: &Database, file: &StoredFileRecord) -> Result<bool, DatabaseError> {
    let same = sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM downloads
               WHERE render_id = $1 AND index = $2 AND state = 'stored' AND key = $3 AND sha256 = $4
           ) AS "same!""#,
        file.render_id,
        file.index,
        file.key.as_str(),
        file.sha256,
    );
    database.with_timeout(BACKGROUND_TIMEOUT, same.fetch_one(database.pool())).await
}
