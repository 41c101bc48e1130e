//! Checks the store.

use axum::http::StatusCode;
use tokio::time::timeout;

use super::line::CHECK_TIMEOUT;
use super::line::Finding;
use crate::archive::{Store, StoreError};

/// Writes a test object and deletes it.
pub(super) async fn check(store: Option<&Store>) -> Finding {
    let Some(store) = store else { return Finding::invalid("STORAGE_URL") };
    match timeout(CHECK_TIMEOUT, store.probe()).await {
        Ok(Ok(())) => Finding::ok("a test object was written and deleted"),
        Ok(Err(error)) => Finding::fail(format!("a test object cannot be written and deleted: {}", cause(&error))),
        Err(_elapsed) => Finding::no_answer(),
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
            format!("the bucket rejects the credentials, or they lack a permission: {error}")
        }
        Some(StatusCode::NOT_FOUND) => format!("the bucket does not exist: {error}"),
        _ => error.to_string(),
    }
}
