//! The store: where the files of finished renders are kept.
//!
//! An [`Upload`] accepts the bytes of a file. Guaranteed: the object appears complete, at [`Upload::finish`], or not at all; an
//! upload holds at most two parts in memory, however large the file is; and a slow store makes the sender wait.

mod bucket;
mod bucket_read;
mod bucket_upload;
mod client;
mod durable_folders;
mod error;
mod folder;
mod folder_part;
mod folder_upload;
mod health;
mod multipart;
mod object_path;
mod shared_sync;

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use url::Url;
use uuid::Uuid;

pub(super) use self::bucket::Bucket;
pub use self::error::{BucketError, InvalidStorageUrl, StoreError};
pub(super) use self::folder::Folder;
pub use self::health::StoreHealth;
use crate::domain::ObjectKey;

/// How long a link to an object works: enough to follow a redirect, and to seek in a long video.
pub const LINK_LIFETIME: Duration = Duration::from_hours(1);

/// The size of a part, into which files are split. Every store accepts parts of 5 MiB and more; 10,000 of these are
/// 78 GiB, and the parts of a longer file are longer.
const PART_BYTES: usize = 8 << 20;

/// A folder or a bucket that holds objects.
#[derive(Debug, Clone)]
pub enum Store {
    /// A folder of this machine: `file://`.
    Folder(Folder),
    /// A bucket: `s3://`, `gs://`, `az://`.
    Bucket(Bucket),
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

    /// Writes and deletes a probe object, to find out whether files can be stored.
    pub async fn probe(&self) -> Result<(), StoreError> {
        match self {
            Self::Folder(folder) => Ok(folder.probe().await?),
            Self::Bucket(bucket) => Ok(bucket.probe().await?),
        }
    }

    /// Begins to write an object.
    #[must_use]
    pub fn begin(&self, object: NewObject<'_>) -> Upload {
        match self {
            Self::Folder(folder) => Upload::Folder(Box::new(folder.begin(object))),
            Self::Bucket(bucket) => Upload::Bucket(Box::new(bucket.begin(object))),
        }
    }

    /// Resumes an upload that another worker saved with [`Upload::save`], of which the store durably has `bytes`.
    pub async fn resume(
        &self,
        key: &ObjectKey,
        content_type: &str,
        upload: &str,
        bytes: u64,
        token: Uuid,
    ) -> Result<Upload, StoreError> {
        Ok(match self {
            Self::Folder(folder) => Upload::Folder(Box::new(folder.resume(key, upload, bytes, token).await?)),
            Self::Bucket(bucket) => Upload::Bucket(Box::new(bucket.resume(key, content_type, upload, bytes)?)),
        })
    }

    /// Removes a saved upload that will not be resumed. After an error it may still be there.
    pub async fn discard(&self, key: &ObjectKey, upload: &str) -> Result<(), StoreError> {
        match self {
            Self::Folder(folder) => Ok(folder.discard(key, upload).await?),
            Self::Bucket(bucket) => Ok(bucket.discard(key, upload).await?),
        }
    }

    /// Deletes the object and what other writers left of it, if they are there. Returns once a power cut cannot undo that. After
    /// an error they may still be there.
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        match self {
            Self::Folder(folder) => Ok(folder.delete(key).await?),
            Self::Bucket(bucket) => Ok(bucket.delete(key).await?),
        }
    }

    /// The object's length in bytes.
    pub async fn size(&self, key: &ObjectKey) -> Result<u64, StoreError> {
        match self {
            Self::Folder(folder) => Ok(folder.size(key).await?),
            Self::Bucket(bucket) => Ok(bucket.size(key).await?),
        }
    }

    /// The object's bytes, or those of `range`, which must lie within it. An object that is gone or shorter is an error
    /// here, before the first byte. There is no limit to how long the reading takes, only to how long the store is silent.
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

    /// The object's URL, for people and programs with their own access to the store.
    #[must_use]
    pub fn url(&self, key: &ObjectKey) -> String {
        match self {
            Self::Folder(folder) => folder.url(key),
            Self::Bucket(bucket) => bucket.url(key),
        }
    }
}

/// An object that is to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewObject<'a> {
    /// Its key.
    pub key: &'a ObjectKey,
    /// Its media type.
    pub content_type: &'a str,
    /// How many bytes it has at most.
    pub max_bytes: u64,
    /// Separates two writers of the same object.
    pub token: Uuid,
}

/// An object that is being written. Dropped without [`Upload::finish`], it leaves no object; only [`Upload::abort`]
/// leaves nothing at all.
#[derive(Debug)]
pub enum Upload {
    /// Into a folder.
    Folder(Box<folder_upload::FolderUpload>),
    /// Into a bucket.
    Bucket(Box<bucket_upload::BucketUpload>),
}

impl Upload {
    /// Waits while the store is slower than the sender. Cancel safe.
    pub async fn ready(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Folder(upload) => Ok(upload.ready().await?),
            Self::Bucket(upload) => Ok(upload.ready().await?),
        }
    }

    /// Adds bytes. After [`Upload::ready`] it waits for nothing but the start of a multipart upload. Dropped during that
    /// wait, it may have started one that is not saved anywhere.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        match self {
            Self::Folder(upload) => Ok(upload.write(bytes).await?),
            Self::Bucket(upload) => Ok(upload.write(bytes).await?),
        }
    }

    /// How many more bytes complete the current part. Parts are all that can be resumed.
    #[must_use]
    pub fn room_in_part(&self) -> usize {
        match self {
            Self::Folder(upload) => upload.room_in_part(),
            Self::Bucket(upload) => upload.room_in_part(),
        }
    }

    /// What [`Store::resume`] and [`Store::discard`] need to find this upload; `None` where that is not possible, as in
    /// Azure. It covers the parts of the last [`Upload::flush`].
    pub async fn save(&mut self) -> Result<Option<String>, StoreError> {
        match self {
            Self::Folder(upload) => Ok(Some(upload.save())),
            Self::Bucket(upload) => Ok(upload.save().await?),
        }
    }

    /// Returns once the store durably has every complete part.
    pub async fn flush(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Folder(upload) => Ok(upload.flush().await?),
            Self::Bucket(upload) => Ok(upload.flush().await?),
        }
    }

    /// Makes the object appear. If that fails, the upload is still there and can be aborted. The writer's lease is held
    /// until `held_until` at least: what a folder's writer begins later could replace a successor's object.
    pub async fn finish(&mut self, held_until: Instant) -> Result<(), StoreError> {
        match self {
            Self::Folder(upload) => Ok(upload.finish(held_until).await?),
            Self::Bucket(upload) => Ok(upload.finish().await?),
        }
    }

    /// Leaves nothing behind. After an error something may be left.
    pub async fn abort(self) -> Result<(), StoreError> {
        match self {
            Self::Folder(upload) => Ok(upload.abort().await?),
            Self::Bucket(upload) => Ok(upload.abort().await?),
        }
    }
}
