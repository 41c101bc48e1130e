//! The store.

use axum::http::StatusCode;
use tokio::time::timeout;

use super::dependencies::{PATIENCE, no_answer};
use super::line::Finding;
use crate::archive::{Store, StoreError};

/// Writes a probe object and deletes it.
pub(super) async fn check(store: Option<&Store>) -> Finding {
    let Some(store) = store else { return Finding::invalid("STORAGE_URL") };
    match timeout(PATIENCE, store.probe()).await {
        Ok(Ok(())) => Finding::ok("a probe object was written and deleted"),
        Ok(Err(error)) => Finding::fail(format!("a probe object cannot be written and deleted: {}", cause(&error))),
        Err(_elapsed) => no_answer(),
    }
}

/// Why the store fails.
fn cause(error: &StoreError) -> String {
    let status = match error {
        StoreError::Bucket(error) => error.status(),
        StoreError::Folder(_) => None,
    };
    match status {
        Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            format!("the bucket refuses the credentials or their rights: {error}")
        }
        Some(StatusCode::NOT_FOUND) => format!("there is no such bucket: {error}"),
        _ => error.to_string(),
    }
}
