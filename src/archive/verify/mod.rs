//! Verification: reads stored objects back and compares their length and SHA-256 with what was recorded.
//!
//! [`stored_files`] reads the records in the order of their renders' ids, a page at a time; [`verify_file`] reads one object, of
//! which only a chunk is in memory; and [`repair()`] puts a file back in the queue whose object is missing or different.

mod records;
mod repair;

use futures::TryStreamExt;
use sha2::{Digest, Sha256};

pub use self::records::{FilePosition, StoredFileFilter, StoredFileRecord, is_current, stored_files};
pub use self::repair::{RepairOutcome, repair};
use super::store::{BucketError, Store, StoreError};
use crate::domain::ObjectKey;

/// What is wrong with an object.
#[derive(Debug, thiserror::Error)]
pub enum ObjectFault {
    /// It does not exist.
    #[error("the object is missing")]
    Missing,
    /// Its length differs.
    #[error("the object has {actual} bytes instead of {expected}")]
    Length {
        /// The recorded length.
        expected: u64,
        /// What was read.
        actual: u64,
    },
    /// Its content differs.
    #[error("the object has another SHA-256")]
    Content,
    /// It cannot be read now. This says nothing about the object.
    #[error("the object cannot be read: {0}")]
    Unreadable(StoreError),
}

impl ObjectFault {
    /// Whether the object is known to be missing or different.
    #[must_use]
    pub const fn is_proven(&self) -> bool {
        match self {
            Self::Missing | Self::Length { .. } | Self::Content => true,
            Self::Unreadable(_) => false,
        }
    }
}

/// Reads an object whole, and returns its length and SHA-256.
pub async fn hash_object(store: &Store, key: &ObjectKey) -> Result<(u64, String), StoreError> {
    let mut bytes = store.read(key, None).await?;
    let (mut length, mut hash) = (0, Sha256::new());
    while let Some(chunk) = bytes.try_next().await? {
        length += chunk.len() as u64;
        hash.update(&chunk);
    }
    Ok((length, hex::encode(hash.finalize())))
}

/// Compares a stored object with its record.
pub async fn verify_file(store: &Store, file: &StoredFileRecord) -> Result<(), ObjectFault> {
    let (actual, sha256) = hash_object(store, &file.key).await.map_err(fault)?;
    if actual != file.size_bytes {
        return Err(ObjectFault::Length { expected: file.size_bytes, actual });
    }
    if sha256 == file.sha256 { Ok(()) } else { Err(ObjectFault::Content) }
}

fn fault(error: StoreError) -> ObjectFault {
    let is_missing = match &error {
        StoreError::Folder(error) => error.kind() == std::io::ErrorKind::NotFound,
        StoreError::Bucket(error) => error.status() == Some(axum::http::StatusCode::NOT_FOUND),
    };
    match error {
        _ if is_missing => ObjectFault::Missing,
        // The store saw that it changed while it was read, or is shorter than it says.
        StoreError::Bucket(BucketError::Changed) => ObjectFault::Content,
        error => ObjectFault::Unreadable(error),
    }
}
