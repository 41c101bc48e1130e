//! A file that is being written to a folder.
//!
//! While one buffer is written by another thread the next one fills, then they are swapped. What is written is synced to
//! the disk along the way, beside the writing: the object may appear only once all of it is on the disk, and then little
//! is left to wait for.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::fs;
use tokio::task::{JoinHandle, spawn_blocking};

use super::PART_BYTES;
use super::object_path::{ObjectPath, ignore_gone};

/// How much is written at once: enough to make up for the switch to another thread, and little enough that the bytes are
/// still in the processor's caches when they are written.
const WRITE_BYTES: usize = 256 << 10;
/// How much is written before it is synced: enough for the disk to work in one go, and little enough for a stop to wait.
const SYNC_BYTES: u64 = 64 << 20;

/// A file that is being written.
#[derive(Debug)]
pub struct FolderUpload {
    file: Arc<File>,
    part: PathBuf,
    paths: ObjectPath,
    length: u64,
    filling: BytesMut,
    writing: Option<JoinHandle<io::Result<BytesMut>>>,
    /// The buffer that is filled next.
    spare: Option<BytesMut>,
    syncing: Option<JoinHandle<io::Result<()>>>,
    unsynced: u64,
}

impl FolderUpload {
    /// Continues after the first `length` bytes of `file`.
    pub(super) fn new(file: File, part: PathBuf, paths: ObjectPath, length: u64) -> Self {
        let file = Arc::new(file);
        let filling = BytesMut::new();
        Self { file, part, paths, length, filling, writing: None, spare: None, syncing: None, unsynced: 0 }
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
                self.filling = self.spare.take().unwrap_or_else(|| BytesMut::with_capacity(WRITE_BYTES));
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
            let file = self.file.clone();
            self.syncing = Some(spawn_blocking(move || file.sync_data()));
            self.unsynced = 0;
        }
        let (file, mut full) = (self.file.clone(), std::mem::take(&mut self.filling));
        self.unsynced += full.len() as u64;
        self.writing = Some(spawn_blocking(move || {
            (&*file).write_all(&full)?;
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
        self.part.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Writes and syncs everything so far.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.write_out().await?;
        self.written().await?;
        self.synced().await?;
        let file = self.file.clone();
        self.unsynced = 0;
        spawn_blocking(move || file.sync_all()).await?
    }

    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.paths.publish(&self.part).await
    }

    pub(super) async fn abort(self) -> io::Result<()> {
        fs::remove_file(&self.part).await.or_else(ignore_gone)
    }
}
