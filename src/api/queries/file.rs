//! A stored file: what a download of its bytes needs.

use sqlx::PgPool;

use crate::domain::ObjectKey;
use crate::domain::RenderId;

/// What leads to a file's bytes, and what is told with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Where it stands.
    pub key: ObjectKey,
    /// What it is.
    pub content_type: String,
    /// How long it is.
    pub size_bytes: u64,
    /// Its SHA-256 in hex.
    pub sha256: String,
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    /// It is stored.
    Stored(StoredFile),
    /// It is known, and not stored, or not yet.
    NotStored,
}

/// Reads one download; `None` if there is none.
pub async fn file(pool: &PgPool, id: &RenderId, index: i32) -> sqlx::Result<Option<File>> {
    let row = sqlx::query!(
        "SELECT state, key, content_type, size_bytes, sha256 FROM downloads WHERE render_id = $1 AND index = $2",
        id.as_str(),
        index,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| match (row.state.as_str(), row.size_bytes, row.sha256) {
        ("stored", Some(size), Some(sha256)) => File::Stored(StoredFile {
            key: ObjectKey::from_row(row.key),
            content_type: row.content_type.unwrap_or_else(|| "application/octet-stream".to_owned()),
            size_bytes: size.unsigned_abs(),
            sha256,
        }),
        _ => File::NotStored,
    }))
}
