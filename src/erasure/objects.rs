//! Deletes the objects of a render.

use futures::{StreamExt, TryStreamExt, stream};

use super::queue::ErasedFile;
use crate::archive::{Store, StoreError};

/// How many objects of a render are deleted at once.
const CONCURRENCY: usize = 8;

/// Aborts the partial uploads and deletes the objects, if they are there. After an error, some may be left.
pub(super) async fn delete_all(store: &Store, files: Vec<ErasedFile>) -> Result<(), StoreError> {
    let delete = |file: ErasedFile| async move {
        // First, so that no worker can complete the upload after the object was deleted.
        if let Some(upload) = &file.upload {
            store.discard(&file.key, upload).await?;
        }
        store.delete(&file.key).await
    };
    stream::iter(files).map(delete).buffer_unordered(CONCURRENCY).try_collect().await
}
