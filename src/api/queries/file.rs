//! Reads a stored file's metadata.

use sqlx::PgPool;

use crate::domain::{DownloadState, ObjectKey, RenderId};

/// What is needed to send a stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct StoredFile {
    /// Its key in the store.
    pub(in crate::api) key: ObjectKey,
    /// Its content type.
    pub(in crate::api) content_type: String,
    /// Its size.
    pub(in crate::api) size_bytes: u64,
    /// Its SHA-256 in hex.
    pub(in crate::api) sha256: String,
}

/// The state of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum FileLookup {
    /// The file is stored.
    Stored(StoredFile),
    /// The file is not stored (yet).
    NotStored,
}

/// Reads one download; `None` if it does not exist.
pub(in crate::api) async fn file(pool: &PgPool, id: &RenderId, index: i32) -> sqlx::Result<Option<FileLookup>> {
    let row = sqlx::query!(
        "SELECT state, key, content_type, size_bytes, sha256 FROM downloads WHERE render_id = $1 AND index = $2",
        id.as_str(),
        index,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| match (row.state.parse(), row.size_bytes, row.sha256) {
        (Ok(DownloadState::Stored), Some(size), Some(sha256)) => FileLookup::Stored(StoredFile {
            key: ObjectKey::from_row(row.key),
            content_type: row.content_type.unwrap_or_else(|| "application/octet-stream".to_owned()),
            size_bytes: size.unsigned_abs(),
            sha256,
        }),
        _ => FileLookup::NotStored,
    }))
}
