//! Reads objects from a bucket, even large ones for slow readers.
//!
//! The object is read in ranges, with one request each.
//!
//! Guaranteed:
//! - No time limit covers more than one wait for the server.
//! - An interrupted request is resumed, as long as each request makes progress.
//! - All bytes are from the same version of the object.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStoreExt};
use tokio::time::timeout;

use super::PART_BYTES;
use super::bucket::Bucket;
use super::error::BucketError;
use crate::domain::ObjectKey;

/// The number of bytes per request: few requests, but no connection that a slow reader leaves idle for hours.
const RANGE_BYTES: u64 = 4 * PART_BYTES as u64;
/// The time limit without any bytes.
const SILENCE: Duration = Duration::from_secs(30);

impl Bucket {
    /// Reads `range` or the whole object. Sends the first request at once, so that an unreadable object fails here.
    pub(super) async fn read(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<impl Stream<Item = Result<Bytes, BucketError>> + Send + 'static, BucketError> {
        let path = self.path(key);
        let (range, etag) = if let Some(range) = range {
            (range, None)
        } else {
            let object = patiently(self.objects.head(&path)).await?;
            (0..object.size, object.e_tag)
        };
        let mut reader = Reader { bucket: self.clone(), path, next: range.start, end: range.end, etag, body: None };
        if !range.is_empty() {
            reader.request().await?;
        }
        Ok(stream::try_unfold((reader, true), |(mut reader, mut advanced)| async move {
            let bytes = reader.read(&mut advanced).await?;
            Ok(bytes.map(|bytes| (bytes, (reader, advanced))))
        }))
    }
}

struct Reader {
    bucket: Bucket,
    path: Path,
    /// The offset of the next byte.
    next: u64,
    end: u64,
    /// The version of the object, if the bucket provides one.
    etag: Option<String>,
    /// The rest of the current request.
    body: Option<BoxStream<'static, Result<Bytes, Error>>>,
}

impl Reader {
    /// The next bytes, or `None` at the end. `advanced` is whether the last request made progress.
    async fn read(&mut self, advanced: &mut bool) -> Result<Option<Bytes>, BucketError> {
        while self.next < self.end {
            match self.read_once().await {
                Ok(Some(bytes)) => {
                    *advanced = true;
                    return Ok(Some(bytes));
                }
                Ok(None) if *advanced => {}
                Ok(None) => return Err(BucketError::Changed),
                Err(error) if !*advanced || error == BucketError::Changed => return Err(error),
                Err(_) => {}
            }
            *advanced = false;
            self.body = None;
        }
        Ok(None)
    }

    async fn read_once(&mut self) -> Result<Option<Bytes>, BucketError> {
        if self.body.is_none() {
            self.request().await?;
        }
        let Some(body) = &mut self.body else { return Ok(None) };
        let bytes = patiently(body.try_next()).await?;
        self.next += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        Ok(bytes)
    }

    async fn request(&mut self) -> Result<(), BucketError> {
        let range = self.next..self.end.min(self.next.saturating_add(RANGE_BYTES));
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let object = patiently(self.bucket.objects.get_opts(&self.path, options)).await?;
        let same_version = match (&self.etag, &object.meta.e_tag) {
            (Some(before), Some(now)) => before == now,
            _ => true,
        };
        if !same_version || object.meta.size < self.end {
            return Err(BucketError::Changed);
        }
        self.etag.clone_from(&object.meta.e_tag);
        self.body = Some(object.into_stream().boxed());
        Ok(())
    }
}

/// Waits for the bucket, with a time limit.
async fn patiently<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, BucketError> {
    timeout(SILENCE, work).await.map_err(|_elapsed| BucketError::Silent(SILENCE))?.map_err(Into::into)
}
