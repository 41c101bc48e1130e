//! A folder of this machine as the store: `file://`.
//!
//! A file is written next to its final path under a hidden name that carries the writer's token, synced to the disk, and
//! renamed: a reader sees the whole file or none, also after a power cut. A writer that takes over removes what earlier
//! writers of the same object left. If one of them is still alive, its rename finds no file, so it never replaces what
//! its successor wrote. Small files are kept in memory until they are whole, and have such a file for a moment only.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::task::spawn_blocking;
use tokio_util::io::ReaderStream;
use url::Url;
use uuid::Uuid;

use super::NewObject;
use super::durable_folders::DurableFolders;
use super::folder_part::FolderPart;
use super::folder_upload::FolderUpload;
use super::object_path::{ObjectPath, PART_SUFFIX, ignore_gone};
use crate::domain::ObjectKey;

/// A folder that holds objects.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
    durable: DurableFolders,
}

/// How much of a file is read at once.
const READ_BYTES: usize = 64 << 10;

impl Folder {
    /// The folder at `root`. It is made when the first object needs it.
    #[must_use]
    pub fn at(root: PathBuf) -> Self {
        Self { durable: DurableFolders::below(&root), root }
    }

    /// Where the object is on this machine.
    #[must_use]
    pub fn path(&self, key: &ObjectKey) -> PathBuf {
        self.root.join(key.as_str())
    }

    pub(super) fn url(&self, key: &ObjectKey) -> String {
        Url::from_file_path(self.path(key)).map_or_else(|()| key.to_string(), String::from)
    }

    pub(super) async fn probe(&self) -> io::Result<()> {
        fs::create_dir_all(&self.root).await?;
        let path = self.root.join(format!(".probe.{}{PART_SUFFIX}", Uuid::new_v4()));
        fs::write(&path, b"renderhook").await?;
        fs::remove_file(&path).await
    }

    pub(super) async fn size(&self, key: &ObjectKey) -> io::Result<u64> {
        Ok(fs::metadata(self.path(key)).await?.len())
    }

    pub(super) async fn read(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static> {
        let mut file = File::open(self.path(key)).await?;
        let size = file.metadata().await?.len();
        let range = range.unwrap_or(0..size);
        if range.end > size {
            return Err(shorter());
        }
        file.seek(io::SeekFrom::Start(range.start)).await?;
        let length = range.end.saturating_sub(range.start);
        let reader = ReaderStream::with_capacity(file.take(length), READ_BYTES);
        // The file may shrink while it is read.
        Ok(stream::try_unfold((reader, length), |(mut reader, left)| async move {
            match reader.try_next().await? {
                Some(bytes) => {
                    let left = left - bytes.len() as u64;
                    Ok(Some((bytes, (reader, left))))
                }
                None if left == 0 => Ok(None),
                None => Err(shorter()),
            }
        }))
    }

    /// Begins a file. Nothing is in the folder before the first bytes are written.
    pub(super) fn begin(&self, object: NewObject<'_>) -> FolderUpload {
        let NewObject { key, max_bytes, token, .. } = object;
        let part = FolderPart::new(ObjectPath::new(&self.root, key), token, self.durable.clone());
        FolderUpload::new(part, 0, max_bytes)
    }

    /// Takes over the file of an earlier writer.
    pub(super) async fn resume(
        &self,
        key: &ObjectKey,
        upload: &str,
        bytes: u64,
        token: Uuid,
    ) -> io::Result<FolderUpload> {
        let part = FolderPart::new(ObjectPath::new(&self.root, key), token, self.durable.clone());
        let earlier = upload.to_owned();
        let part = spawn_blocking(move || part.resume(&earlier, bytes)).await??;
        Ok(FolderUpload::new(part, bytes, u64::MAX))
    }

    pub(super) async fn delete(&self, key: &ObjectKey) -> io::Result<()> {
        let paths = ObjectPath::new(&self.root, key);
        spawn_blocking(move || paths.delete()).await?
    }

    pub(super) async fn discard(&self, key: &ObjectKey, upload: &str) -> io::Result<()> {
        // OK to leave alone what is not a part of this object: it is another store's.
        let Ok(part) = ObjectPath::new(&self.root, key).earlier_part(upload) else { return Ok(()) };
        fs::remove_file(part).await.or_else(ignore_gone)
    }
}

fn shorter() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than when it was stored")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::domain::Kind;

    fn key() -> ObjectKey {
        ObjectKey::new(Kind::Video, &"id".parse().unwrap(), 0, Url::parse("https://h/a.mp4").ok().as_ref())
    }

    fn begin(folder: &Folder) -> FolderUpload {
        let (key, token) = (key(), Uuid::new_v4());
        folder.begin(NewObject { key: &key, content_type: "video/mp4", max_bytes: 1000, token })
    }

    /// As long as a lease usually has.
    fn lease() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_file_appears_whole_at_the_end_and_not_before() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().into());
        let mut upload = begin(&folder);
        upload.write(Bytes::from_static(b"half")).await.unwrap();
        upload.flush().await.unwrap();
        assert!(!folder.path(&key()).exists());
        upload.write(Bytes::from_static(b" and half")).await.unwrap();
        upload.finish(lease()).await.unwrap();
        assert_eq!(std::fs::read(folder.path(&key())).unwrap(), b"half and half");
        assert_eq!(names(folder.path(&key()).parent().unwrap()), ["0-a.mp4"]);
    }

    #[tokio::test]
    async fn a_file_without_bytes_appears_too() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().into());
        begin(&folder).finish(lease()).await.unwrap();
        assert_eq!(std::fs::read(folder.path(&key())).unwrap(), b"");
    }

    #[tokio::test]
    async fn a_file_longer_than_the_buffers_is_written_in_order() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().into());
        let file: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        // As from a server that announced another length.
        for max_bytes in [1, u64::MAX] {
            let (key, token) = (key(), Uuid::new_v4());
            let object = NewObject { key: &key, content_type: "video/mp4", max_bytes, token };
            let mut upload = folder.begin(object);
            for piece in file.chunks(70_000) {
                upload.ready().await.unwrap();
                upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            upload.finish(lease()).await.unwrap();
            assert!(std::fs::read(folder.path(&key)).unwrap() == file);
        }
    }

    #[tokio::test]
    async fn an_aborted_file_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().into());
        let mut upload = begin(&folder);
        upload.write(Bytes::from_static(b"half")).await.unwrap();
        upload.flush().await.unwrap();
        assert_eq!(names(folder.path(&key()).parent().unwrap()).len(), 1);
        upload.abort().await.unwrap();
        assert_eq!(names(folder.path(&key()).parent().unwrap()), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_small_file_that_is_aborted_was_never_there() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().join("store"));
        let mut upload = begin(&folder);
        upload.write(Bytes::from_static(b"half")).await.unwrap();
        upload.abort().await.unwrap();
        assert_eq!(names(root.path()), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_writer_that_was_overtaken_cannot_replace_a_whole_file_with_half_of_one() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().into());
        let mut first = begin(&folder);
        first.write(Bytes::from_static(b"half")).await.unwrap();
        first.flush().await.unwrap();
        let mut second = begin(&folder);
        second.write(Bytes::from_static(b"whole")).await.unwrap();
        second.flush().await.unwrap();
        first.write(Bytes::from_static(b" of the first")).await.unwrap();
        assert!(first.finish(lease()).await.is_err());
        second.finish(lease()).await.unwrap();
        assert_eq!(std::fs::read(folder.path(&key())).unwrap(), b"whole");
        assert_eq!(names(folder.path(&key()).parent().unwrap()), ["0-a.mp4"]);
    }

    #[tokio::test]
    async fn a_file_that_is_created_when_the_lease_may_have_ended_is_not_published() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().into());
        let mut late = begin(&folder);
        late.write(Bytes::from_static(b"late")).await.unwrap();
        assert!(late.finish(Instant::now()).await.is_err());
        late.abort().await.unwrap();
        assert_eq!(names(folder.path(&key()).parent().unwrap()), Vec::<String>::new());
        let mut early = begin(&folder);
        early.write(Bytes::from_static(b"early")).await.unwrap();
        early.flush().await.unwrap();
        early.finish(Instant::now()).await.unwrap();
        assert_eq!(std::fs::read(folder.path(&key())).unwrap(), b"early");
    }

    #[tokio::test]
    async fn a_writer_removes_what_a_dead_one_left() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().into());
        let mut dead = begin(&folder);
        dead.write(Bytes::from_static(b"half")).await.unwrap();
        dead.flush().await.unwrap();
        drop(dead);
        let mut next = begin(&folder);
        next.write(Bytes::from_static(b"whole")).await.unwrap();
        next.finish(lease()).await.unwrap();
        assert_eq!(names(folder.path(&key()).parent().unwrap()), ["0-a.mp4"]);
    }

    #[tokio::test]
    async fn a_probe_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        Folder::at(root.path().join("new")).probe().await.unwrap();
        assert_eq!(names(&root.path().join("new")), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_file_that_was_cut_short_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().into());
        let mut upload = begin(&folder);
        upload.write(Bytes::from_static(b"half")).await.unwrap();
        upload.finish(lease()).await.unwrap();
        let read: Vec<_> = folder.read(&key(), Some(2..4)).await.unwrap().try_collect().await.unwrap();
        assert_eq!(read, ["lf"]);
        assert!(folder.read(&key(), Some(2..5)).await.is_err());

        let reading = folder.read(&key(), Some(2..4)).await.unwrap();
        std::fs::write(folder.path(&key()), "hal").unwrap();
        assert!(reading.try_collect::<Vec<_>>().await.is_err());
    }
}
