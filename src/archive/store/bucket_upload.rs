//! A file that is being written to a bucket.
//!
//! A file that fits in one part is sent in one request; a longer one is a multipart upload, which appears when it is
//! completed. Parts have one size, as some stores demand, and there are at most 10,000 of them, as others do.
//!
//! A part is a buffer of exactly its length. While one is being sent the next one fills, then they are swapped, so a
//! transfer holds two however long the file is. Bytes are copied into them because the buffers that they arrive in are
//! larger than their content, and would stay in memory until the part is sent.

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{Attribute, Attributes, PutMultipartOptions, PutOptions, PutPayload};

use super::bucket::Bucket;
use super::error::BucketError;
use super::multipart::{Multipart, SavedUpload, ignore_ended};
use super::{NewObject, PART_BYTES};
use crate::domain::ObjectKey;

/// How many parts of one file are sent at once, besides the one that is being filled.
const PARTS_IN_FLIGHT: usize = 1;

/// The most parts of one upload that S3 and Google Cloud Storage accept.
const MAX_PARTS: u64 = 10_000;

/// A file that is being written.
#[derive(Debug)]
pub struct BucketUpload {
    bucket: Bucket,
    path: Path,
    attributes: Attributes,
    part_bytes: usize,
    /// The length of a buffer: a part, or the whole file if it is shorter.
    capacity: usize,
    filling: BytesMut,
    /// The buffer that is filled next.
    spare: Option<BytesMut>,
    upload: Option<Multipart>,
}

impl Bucket {
    /// Begins a file.
    pub(super) fn begin(&self, object: NewObject<'_>) -> BucketUpload {
        let NewObject { key, content_type, max_bytes, .. } = object;
        BucketUpload::new(self.clone(), self.path(key), typed(content_type), part_bytes(max_bytes), max_bytes)
    }

    /// Resumes an upload that another worker began. Its parts are where that worker's were, since both cut the same file
    /// on the same grid.
    pub(super) fn resume(
        &self,
        key: &ObjectKey,
        content_type: &str,
        upload: &str,
        bytes: u64,
    ) -> Result<BucketUpload, BucketError> {
        let saved = SavedUpload::parse(upload)?;
        let Some(store) = self.multipart.clone().filter(|_| saved.bytes() == bytes) else {
            return Err(BucketError::Other("the saved parts do not add up to the saved length".to_owned()));
        };
        let upload = BucketUpload::new(self.clone(), self.path(key), typed(content_type), saved.part_bytes, u64::MAX);
        Ok(BucketUpload { upload: Some(Multipart::resume(store, self.path(key), saved)), ..upload })
    }
}

impl BucketUpload {
    fn new(bucket: Bucket, path: Path, attributes: Attributes, part_bytes: usize, max_bytes: u64) -> Self {
        let capacity = usize::try_from(max_bytes).unwrap_or(usize::MAX).min(part_bytes);
        Self { bucket, path, attributes, part_bytes, capacity, filling: BytesMut::new(), spare: None, upload: None }
    }

    pub(super) async fn ready(&mut self) -> Result<(), BucketError> {
        if self.is_full() { self.wait(PARTS_IN_FLIGHT - 1).await } else { Ok(()) }
    }

    pub(super) async fn write(&mut self, mut bytes: Bytes) -> Result<(), BucketError> {
        while !bytes.is_empty() {
            if self.is_full() {
                self.send_part().await?;
            }
            if self.filling.capacity() == 0 {
                self.filling = self.spare.take().unwrap_or_else(|| BytesMut::with_capacity(self.capacity));
            }
            let piece = bytes.split_to(bytes.len().min(self.part_bytes - self.filling.len()));
            self.filling.extend_from_slice(&piece);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.filling.len() == self.part_bytes
    }

    pub(super) fn room_in_part(&self) -> usize {
        if self.is_full() { self.part_bytes } else { self.part_bytes - self.filling.len() }
    }

    pub(super) async fn save(&mut self) -> Result<Option<String>, BucketError> {
        let part_bytes = self.part_bytes;
        self.multipart().await?.save(part_bytes).as_ref().map(SavedUpload::to_text).transpose()
    }

    pub(super) async fn flush(&mut self) -> Result<(), BucketError> {
        if self.is_full() {
            self.send_part().await?;
        }
        self.wait(0).await
    }

    async fn multipart(&mut self) -> Result<&mut Multipart, BucketError> {
        let upload = if let Some(upload) = self.upload.take() {
            upload
        } else {
            let options = PutMultipartOptions::from(self.attributes.clone());
            Multipart::new(self.bucket.begin_multipart(&self.path, options).await?)
        };
        Ok(self.upload.insert(upload))
    }

    async fn send_part(&mut self) -> Result<(), BucketError> {
        self.multipart().await?;
        self.wait(PARTS_IN_FLIGHT - 1).await?;
        // OK because it is taken and sent without an await in between: dropping this future loses no part.
        let part = std::mem::take(&mut self.filling).freeze();
        self.multipart().await?.send(part);
        Ok(())
    }

    /// Waits until at most `limit` parts are being sent. Cancel safe.
    async fn wait(&mut self, limit: usize) -> Result<(), BucketError> {
        if let Some(upload) = &mut self.upload
            && let Some(mut buffer) = upload.wait(limit).await?
        {
            buffer.clear();
            self.spare = Some(buffer);
        }
        Ok(())
    }

    pub(super) async fn finish(&mut self) -> Result<(), BucketError> {
        if self.upload.is_none() {
            let whole = PutPayload::from(std::mem::take(&mut self.filling).freeze());
            return self.bucket.put(&self.path, whole, PutOptions::from(self.attributes.clone())).await;
        }
        if !self.filling.is_empty() {
            self.send_part().await?;
        }
        self.multipart().await?.complete().await
    }

    pub(super) async fn abort(self) -> Result<(), BucketError> {
        match self.upload {
            Some(mut upload) => ignore_ended(upload.abort().await),
            None => Ok(()),
        }
    }
}

fn typed(content_type: &str) -> Attributes {
    Attributes::from_iter([(Attribute::ContentType, content_type.to_owned())])
}

/// The length of the parts of a file of at most `max_bytes`: longer than usual only where there would be too many.
fn part_bytes(max_bytes: u64) -> usize {
    let least = max_bytes.div_ceil(MAX_PARTS).next_multiple_of(1 << 20);
    usize::try_from(least).unwrap_or(usize::MAX).max(PART_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_length_has_no_more_parts_than_a_store_accepts() {
        let usual = PART_BYTES as u64;
        for (max_bytes, expected) in [
            (0, usual),
            (usual, usual),
            (20 << 30, usual),
            (usual * MAX_PARTS, usual),
            (usual * MAX_PARTS + 1, 9 << 20),
            (5 << 40, 525 << 20),
        ] {
            let part = part_bytes(max_bytes) as u64;
            assert_eq!(part, expected, "{max_bytes}");
            assert!(max_bytes.div_ceil(part) <= MAX_PARTS, "{max_bytes}");
        }
    }
}
