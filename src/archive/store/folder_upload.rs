//! A file that is being written to a folder.
//!
//! While one buffer is written by another thread the next one fills, then they are swapped. What is written is synced to
//! the disk along the way, beside the writing: the object may appear only once all of it is on the disk, and then little
//! is left to wait for. A file that fits in one buffer waits for another thread only once, at its end.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::task::{JoinHandle, spawn_blocking};

use super::PART_BYTES;
use super::folder_part::FolderPart;

/// How much is written at once: enough to make up for the switch to another thread, and little enough that the bytes are
/// still in the processor's caches when they are written.
const WRITE_BYTES: usize = 256 << 10;
/// How much is written before it is synced: enough for the disk to work in one go, and little enough for a stop to wait.
const SYNC_BYTES: u64 = 64 << 20;

/// A file that is being written.
#[derive(Debug)]
pub struct FolderUpload {
    part: Arc<FolderPart>,
    length: u64,
    /// The length of a buffer.
    capacity: usize,
    filling: BytesMut,
    writing: Option<JoinHandle<io::Result<BytesMut>>>,
    /// The buffer that is filled next.
    spare: Option<BytesMut>,
    syncing: Option<JoinHandle<io::Result<()>>>,
    unsynced: u64,
}

impl FolderUpload {
    /// Continues after the first `length` bytes of `part`, up to `max_bytes`.
    pub(super) fn new(part: FolderPart, length: u64, max_bytes: u64) -> Self {
        let left = usize::try_from(max_bytes.saturating_sub(length)).unwrap_or(usize::MAX);
        Self {
            part: Arc::new(part),
            length,
            capacity: left.min(WRITE_BYTES),
            filling: BytesMut::new(),
            writing: None,
            spare: None,
            syncing: None,
            unsynced: 0,
        }
    }

    pub(super) async fn ready(&mut self) -> io::Result<()> {
        if self.filling.len() == WRITE_BYTES { self.written().await } else { Ok(()) }
    }

    pub(super) async fn write(&mut self, mut bytes: Bytes) -> io::Result<()> {
        self.length += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.filling.len() == WRITE_BYTES {
                self.write_out().await?;
            }
            if self.filling.capacity() == 0 {
                self.filling = self.spare.take().unwrap_or_else(|| BytesMut::with_capacity(self.capacity));
            }
            let piece = bytes.split_to(bytes.len().min(WRITE_BYTES - self.filling.len()));
            self.filling.extend_from_slice(&piece);
        }
        Ok(())
    }

    /// Hands the filled buffer to another thread.
    async fn write_out(&mut self) -> io::Result<()> {
        self.written().await?;
        if self.filling.is_empty() {
            return Ok(());
        }
        if self.unsynced >= SYNC_BYTES && self.syncing.as_ref().is_none_or(JoinHandle::is_finished) {
            self.synced().await?;
            let part = self.part.clone();
            self.syncing = Some(spawn_blocking(move || part.sync()));
            self.unsynced = 0;
        }
        let (part, mut full) = (self.part.clone(), std::mem::take(&mut self.filling));
        self.unsynced += full.len() as u64;
        self.writing = Some(spawn_blocking(move || {
            part.write(&full)?;
            full.clear();
            Ok(full)
        }));
        Ok(())
    }

    /// Waits until the last buffer is written. Cancel safe.
    async fn written(&mut self) -> io::Result<()> {
        if let Some(writing) = &mut self.writing {
            let written = writing.await;
            self.writing = None;
            self.spare = Some(written??);
        }
        Ok(())
    }

    async fn synced(&mut self) -> io::Result<()> {
        if let Some(syncing) = &mut self.syncing {
            let synced = syncing.await;
            self.syncing = None;
            synced??;
        }
        Ok(())
    }

    pub(super) fn room_in_part(&self) -> usize {
        // OK because the remainder of a part's length is less than it.
        PART_BYTES - usize::try_from(self.length % PART_BYTES as u64).unwrap_or_default()
    }

    pub(super) fn save(&self) -> String {
        self.part.name()
    }

    /// Writes and syncs everything so far.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.write_out().await?;
        self.written().await?;
        self.synced().await?;
        self.unsynced = 0;
        let part = self.part.clone();
        spawn_blocking(move || part.sync()).await?
    }

    /// Writes and syncs what is left, and publishes, all in one go: of a small file that is everything.
    pub(super) async fn finish(&mut self, held_until: Instant) -> io::Result<()> {
        self.written().await?;
        self.synced().await?;
        let (part, rest) = (self.part.clone(), std::mem::take(&mut self.filling));
        let published = spawn_blocking(move || {
            part.write(&rest)?;
            part.publish(held_until)
        });
        published.await?
    }

    pub(super) async fn abort(mut self) -> io::Result<()> {
        // OK to ignore an error: the file is not wanted any more.
        let _ = self.written().await;
        let part = self.part.clone();
        spawn_blocking(move || part.remove()).await?
    }
}
