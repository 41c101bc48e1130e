//! A file on its way into a bucket.
//!
//! What fits one part is put in one request; a longer file is a multipart upload, which appears when it is completed.
//! A part is a buffer of its very length: while one is on its way the next one fills, then they change places, so that
//! a transfer holds two however long the file is. Bytes are copied into them because the buffers in which they came
//! are larger than what is in them, and would stay until the part is sent.

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{Attribute, Attributes, Error, PutMultipartOptions, PutOptions, PutPayload};

use super::PART_BYTES;
use super::bucket::Bucket;
use super::multipart::{Kept, Multipart, ended};
use crate::domain::ObjectKey;

/// Parts of one file that are on their way at once, beside the one that is being filled.
const PARTS_IN_FLIGHT: usize = 1;

/// Parts of one upload at most, as S3 and Google Cloud Storage have it.
const MOST_PARTS: u64 = 10_000;

/// A file that is being written.
#[derive(Debug)]
pub struct BucketUpload {
    bucket: Bucket,
    path: Path,
    attributes: Attributes,
    part_bytes: usize,
    /// How many bytes a part can have: those of the file, where it is shorter than a part.
    capacity: usize,
    filling: BytesMut,
    /// What is filled next.
    spare: Option<BytesMut>,
    upload: Option<Multipart>,
}

impl Bucket {
    /// Begins a file of at most so many bytes.
    pub(super) fn begin(&self, key: &ObjectKey, content_type: &str, at_most: u64) -> BucketUpload {
        BucketUpload::new(self.clone(), self.path(key), typed(content_type), part_bytes(at_most), at_most)
    }

    /// Goes on with an upload that an earlier worker began. Its parts are where that worker's were, since both cut the
    /// same file on the same grid.
    pub(super) fn go_on(
        &self,
        key: &ObjectKey,
        content_type: &str,
        upload: &str,
        bytes: u64,
    ) -> Result<BucketUpload, Error> {
        let kept = Kept::read(upload)?;
        let Some(parts) = self.parts.clone().filter(|_| kept.bytes() == bytes) else {
            return Err(Error::Generic { store: "bucket", source: "the kept parts are not the kept length".into() });
        };
        let fresh = BucketUpload::new(self.clone(), self.path(key), typed(content_type), kept.part_bytes, u64::MAX);
        Ok(fresh.with(Multipart::go_on(parts, self.path(key), kept)))
    }
}

impl BucketUpload {
    pub(super) fn new(bucket: Bucket, path: Path, attributes: Attributes, part_bytes: usize, at_most: u64) -> Self {
        let capacity = usize::try_from(at_most).unwrap_or(usize::MAX).min(part_bytes);
        Self { bucket, path, attributes, part_bytes, capacity, filling: BytesMut::new(), spare: None, upload: None }
    }

    pub(super) fn with(self, upload: Multipart) -> Self {
        Self { upload: Some(upload), ..self }
    }

    pub(super) async fn ready(&mut self) -> Result<(), Error> {
        if self.is_full() { self.wait(PARTS_IN_FLIGHT - 1).await } else { Ok(()) }
    }

    pub(super) async fn write(&mut self, mut bytes: Bytes) -> Result<(), Error> {
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

    pub(super) fn room(&self) -> usize {
        if self.is_full() { self.part_bytes } else { self.part_bytes - self.filling.len() }
    }

    pub(super) async fn keep(&mut self) -> Result<Option<String>, Error> {
        let part_bytes = self.part_bytes;
        self.multipart().await?.keep(part_bytes).as_ref().map(Kept::write).transpose()
    }

    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        if self.is_full() {
            self.send_part().await?;
        }
        self.wait(0).await
    }

    async fn multipart(&mut self) -> Result<&mut Multipart, Error> {
        let upload = if let Some(upload) = self.upload.take() {
            upload
        } else {
            let options = PutMultipartOptions::from(self.attributes.clone());
            Multipart::new(self.bucket.begin_multipart(&self.path, options).await?)
        };
        Ok(self.upload.insert(upload))
    }

    async fn send_part(&mut self) -> Result<(), Error> {
        self.multipart().await?;
        self.wait(PARTS_IN_FLIGHT - 1).await?;
        // OK because it is taken and sent without waiting: who drops this loses no part.
        let part = std::mem::take(&mut self.filling).freeze();
        self.multipart().await?.send(part);
        Ok(())
    }

    /// Waits until at most `limit` parts are on their way. Dropped while it waits, it loses none.
    async fn wait(&mut self, limit: usize) -> Result<(), Error> {
        if let Some(upload) = &mut self.upload
            && let Some(mut buffer) = upload.wait(limit).await?
        {
            buffer.clear();
            self.spare = Some(buffer);
        }
        Ok(())
    }

    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        if self.upload.is_none() {
            let whole = PutPayload::from(std::mem::take(&mut self.filling).freeze());
            return self.bucket.put(&self.path, whole, PutOptions::from(self.attributes.clone())).await;
        }
        if !self.filling.is_empty() {
            self.send_part().await?;
        }
        self.multipart().await?.complete().await
    }

    pub(super) async fn abort(self) -> Result<(), Error> {
        match self.upload {
            Some(mut upload) => ended(upload.abort().await),
            None => Ok(()),
        }
    }
}

fn typed(content_type: &str) -> Attributes {
    Attributes::from_iter([(Attribute::ContentType, content_type.to_owned())])
}

/// The length of the parts of a file of at most so many bytes: longer than usual only where there would be too many.
fn part_bytes(at_most: u64) -> usize {
    let least = at_most.div_ceil(MOST_PARTS).next_multiple_of(1 << 20);
    usize::try_from(least).unwrap_or(usize::MAX).max(PART_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_length_has_no_more_parts_than_a_store_takes() {
        let usual = PART_BYTES as u64;
        for (at_most, expected) in [
            (0, usual),
            (usual, usual),
            (20 << 30, usual),
            (usual * MOST_PARTS, usual),
            (usual * MOST_PARTS + 1, 9 << 20),
            (5 << 40, 525 << 20),
        ] {
            let part = part_bytes(at_most) as u64;
            assert_eq!(part, expected, "{at_most}");
            assert!(at_most.div_ceil(part) <= MOST_PARTS, "{at_most}");
        }
    }
}
