//! The store.

use object_store::Error;
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

/// Why the store fails. What a bucket's server sends along is cut off: some repeat how the request was signed.
fn cause(error: &StoreError) -> String {
    let text = error.to_string();
    let told = text.split('<').next().unwrap_or_default().trim();
    match error {
        StoreError::Bucket(Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => {
            format!("the bucket refuses the credentials or their rights: {told}")
        }
        StoreError::Bucket(Error::NotFound { .. }) => format!("there is no such bucket: {told}"),
        StoreError::Bucket(_) | StoreError::Folder(_) => told.to_owned(),
    }
}
