//! The store: where the files of finished renders are kept.
//!
//! An [`Upload`] takes a file's bytes as they come. Guaranteed: the object appears whole, at [`Upload::finish`], or not
//! at all; memory stays at two parts however large the file is, and a store that is slow makes the sender wait.

mod bucket;
mod bucket_upload;
mod folder;
mod folder_upload;
mod multipart;
mod place;

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use url::Url;
use uuid::Uuid;

pub(super) use self::bucket::Bucket;
pub(super) use self::folder::Folder;
use crate::domain::ObjectKey;

/// How long a presigned URL of an object works: enough to follow a redirect, and to seek in a long video.
pub(super) const LINK_LIFETIME: Duration = Duration::from_hours(1);

/// The grid on which files are cut: a bucket's part. Every store takes parts of 5 MiB and more; 10,000 of these are
/// 78 GiB, and the parts of a longer file are longer.
const PART_BYTES: usize = 8 << 20;

/// A place for objects.
#[derive(Debug, Clone)]
pub enum Store {
    /// A folder of this machine: `file://`.
    Folder(Folder),
    /// A bucket: `s3://`, `gs://`, `az://`.
    Bucket(Bucket),
}

/// Why a store did not do its part. The texts name no credential.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder failed.
    #[error("{0}")]
    Folder(#[from] std::io::Error),
    /// The bucket failed.
    #[error("{}", without_queries(.0))]
    Bucket(#[from] object_store::Error),
}

/// An error's text without the queries of the URLs in it, which are nobody else's to know.
fn without_queries(error: &object_store::Error) -> String {
    let words = error.to_string();
    let words = words.split(' ').map(|word| match word.split_once('?') {
        Some((url, _)) if url.contains("://") => url,
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Why a `STORAGE_URL` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidStorageUrl {
    /// Another scheme.
    #[error("its scheme must be s3, gs, az or file")]
    Scheme,
    /// A folder without a path.
    #[error("a folder is written file:///absolute/path")]
    NoPath,
    /// What `object_store` says of the settings of that cloud.
    #[error("{0}")]
    Settings(#[from] object_store::Error),
}

impl Store {
    /// The store at `url`. `variables` are the cloud's own settings, such as `AWS_ACCESS_KEY_ID`.
    pub fn at(url: &Url, variables: &HashMap<String, String>) -> Result<Self, InvalidStorageUrl> {
        match url.scheme() {
            "file" => {
                let path = url.to_file_path().map_err(|()| InvalidStorageUrl::NoPath)?;
                Ok(Self::Folder(Folder::at(path)))
            }
            "s3" | "gs" | "az" => Ok(Self::Bucket(Bucket::at(url, variables)?)),
            _ => Err(InvalidStorageUrl::Scheme),
        }
    }

    /// Writes and deletes a probe object: whether files can be kept here at all.
    pub async fn probe(&self) -> Result<(), StoreError> {
        match self {
            Self::Folder(folder) => Ok(folder.probe().await?),
            Self::Bucket(bucket) => Ok(bucket.probe().await?),
        }
    }

    /// Begins to write the object at `key`, of at most so many bytes. `token` keeps two writers of the same object apart.
    pub async fn begin(
        &self,
        key: &ObjectKey,
        content_type: &str,
        at_most: u64,
        token: Uuid,
    ) -> Result<Upload, StoreError> {
        Ok(match self {
            Self::Folder(folder) => Upload::Folder(folder.begin(key, token).await?),
            Self::Bucket(bucket) => Upload::Bucket(Box::new(bucket.begin(key, content_type, at_most))),
        })
    }

    /// Goes on with an upload of which the store has `bytes` for good, as [`Upload::keep`] told.
    pub async fn go_on(
        &self,
        key: &ObjectKey,
        content_type: &str,
        upload: &str,
        bytes: u64,
        token: Uuid,
    ) -> Result<Upload, StoreError> {
        Ok(match self {
            Self::Folder(folder) => Upload::Folder(folder.go_on(key, upload, bytes, token).await?),
            Self::Bucket(bucket) => Upload::Bucket(Box::new(bucket.go_on(key, content_type, upload, bytes)?)),
        })
    }

    /// Ends an upload that nobody goes on with. An error says that it may still be there.
    pub async fn discard(&self, key: &ObjectKey, upload: &str) -> Result<(), StoreError> {
        match self {
            Self::Folder(folder) => Ok(folder.discard(key, upload).await?),
            Self::Bucket(bucket) => Ok(bucket.discard(key, upload).await?),
        }
    }

    /// The object's bytes, or those of `range`.
    pub async fn read(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        Ok(match self {
            Self::Folder(folder) => folder.read(key, range).await?.map_err(StoreError::from).boxed(),
            Self::Bucket(bucket) => bucket.read(key, range).await?.map_err(StoreError::from).boxed(),
        })
    }

    /// The object's address, for people and programs that have their own access to the store.
    #[must_use]
    pub fn url(&self, key: &ObjectKey) -> String {
        match self {
            Self::Folder(folder) => folder.url(key),
            Self::Bucket(bucket) => bucket.url(key),
        }
    }
}

/// An object that is being written. Dropped without [`Upload::finish`], it leaves no object; only [`Upload::abort`]
/// leaves nothing at all.
#[derive(Debug)]
pub enum Upload {
    /// Into a folder.
    Folder(folder_upload::FolderUpload),
    /// Into a bucket.
    Bucket(Box<bucket_upload::BucketUpload>),
}

impl Upload {
    /// Waits while the store is slower than the sender. Dropped meanwhile, it has lost nothing.
    pub async fn ready(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Folder(upload) => Ok(upload.ready().await?),
            Self::Bucket(upload) => Ok(upload.ready().await?),
        }
    }

    /// Adds bytes. After [`Upload::ready`] it waits for nothing but the beginning of a multipart upload; dropped in
    /// between, it may have begun one that nobody knows of.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        match self {
            Self::Folder(upload) => Ok(upload.write(bytes).await?),
            Self::Bucket(upload) => Ok(upload.write(bytes).await?),
        }
    }

    /// How many more bytes end a part: writing just these leaves nothing half in a part.
    #[must_use]
    pub fn room(&self) -> usize {
        match self {
            Self::Folder(upload) => upload.room(),
            Self::Bucket(upload) => upload.room(),
        }
    }

    /// What leads back to this upload, by [`Store::go_on`] or [`Store::discard`]; `None` where nothing does, as in Azure.
    /// Of what was written, it covers what [`Upload::settle`] made last.
    pub async fn keep(&mut self) -> Result<Option<String>, StoreError> {
        match self {
            Self::Folder(upload) => Ok(Some(upload.keep())),
            Self::Bucket(upload) => Ok(upload.keep().await?),
        }
    }

    /// Returns once the store has every full part for good.
    pub async fn settle(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Folder(upload) => Ok(upload.settle().await?),
            Self::Bucket(upload) => Ok(upload.settle().await?),
        }
    }

    /// Makes the object appear. Where that fails, the upload is still there to be aborted.
    pub async fn finish(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Folder(upload) => Ok(upload.finish().await?),
            Self::Bucket(upload) => Ok(upload.finish().await?),
        }
    }

    /// Leaves nothing behind. An error says that something may be left.
    pub async fn abort(self) -> Result<(), StoreError> {
        match self {
            Self::Folder(upload) => Ok(upload.abort().await?),
            Self::Bucket(upload) => Ok(upload.abort().await?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_query_of_a_url_shows_in_an_error() {
        let text = "Error performing PUT http://h/b/k?partNumber=1&uploadId=hush in 1s, after 3 retries. Why?";
        let error = object_store::Error::Generic { store: "S3", source: text.into() };
        let told = StoreError::from(error).to_string();
        assert!(told.contains("PUT http://h/b/k in 1s") && told.ends_with("Why?") && !told.contains("hush"), "{told}");
    }
}
