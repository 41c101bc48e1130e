//! A file on its way into a bucket.
//!
//! What fits one part is put in one request; a longer file is a multipart upload, which appears when it is completed.
//! A part is a buffer of its very length: while one is on its way the next one fills, then they change places, so that
//! a transfer holds two however long the file is. Bytes are copied into them because the buffers in which they came
//! are larger than what is in them, and would stay until the part is sent.

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{Attributes, Error, PutMultipartOptions, PutOptions, PutPayload};

use super::bucket::Bucket;
use super::multipart::{Kept, Multipart};

/// Parts of one file that are on their way at once, beside the one that is being filled.
const PARTS_IN_FLIGHT: usize = 1;

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

/// What the end of an upload came to.
pub(super) fn ended(aborted: Result<(), Error>) -> Result<(), Error> {
    match aborted {
        // It is gone; or it is not for us to end, now or later, and the bucket's lifecycle rule's to clear.
        Err(Error::NotFound { .. } | Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => Ok(()),
        aborted => aborted,
    }
}
