//! A folder of this machine as the store: `file://`.
//!
//! A file is written beside its place under a hidden name that carries the writer's token, flushed to the disk, and
//! renamed: a reader sees the whole file or none, also after a power cut. A writer that takes over removes what earlier
//! writers of the same object left; if one of them still lives, its rename finds nothing, so that it can never put half
//! a file in the place of a whole one.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;
use url::Url;
use uuid::Uuid;

use crate::key::ObjectKey;

/// A folder that holds objects.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

/// The end of the name of a file that is still being written.
const PART: &str = ".part";

impl Folder {
    /// The folder at `root`. It is made when the first object needs it.
    #[must_use]
    pub fn at(root: PathBuf) -> Self {
        Self { root }
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
        let path = self.root.join(format!(".probe.{}{PART}", Uuid::new_v4()));
        fs::write(&path, b"renderhook").await?;
        fs::remove_file(&path).await
    }

    pub(super) async fn begin(&self, key: &ObjectKey, token: Uuid) -> io::Result<FolderUpload> {
        let target = self.path(key);
        let folder = target.parent().unwrap_or(&self.root).to_owned();
        fs::create_dir_all(&folder).await?;
        let prefix = format!(".{}.", key.file_name());
        remove_parts(&folder, &prefix).await?;
        let part = folder.join(format!("{prefix}{}{PART}", token.simple()));
        let file = File::options().write(true).create_new(true).open(&part).await?;
        Ok(FolderUpload { file, part, target, folder })
    }
}

/// Removes what other writers of the same object left.
async fn remove_parts(folder: &Path, prefix: &str) -> io::Result<()> {
    let mut entries = fs::read_dir(folder).await?;
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(prefix) && name.ends_with(PART)) {
            fs::remove_file(entry.path()).await.or_else(gone)?;
        }
    }
    Ok(())
}

fn gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// A file that is being written.
#[derive(Debug)]
pub struct FolderUpload {
    file: File,
    part: PathBuf,
    target: PathBuf,
    folder: PathBuf,
}

impl FolderUpload {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    pub(super) async fn finish(mut self) -> io::Result<()> {
        let done = self.put_in_place().await;
        if done.is_err() {
            self.abort().await;
        }
        done
    }

    async fn put_in_place(&mut self) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        fs::rename(&self.part, &self.target).await?;
        // The rename itself is in the folder, which has to reach the disk as well.
        File::open(&self.folder).await?.sync_all().await
    }

    pub(super) async fn abort(self) {
        // A failure to remove is left to the next writer of this object, which removes every part it finds.
        let _ = fs::remove_file(&self.part).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Kind;

    fn key() -> ObjectKey {
        ObjectKey::new(Kind::Video, &"id".parse().unwrap(), 0, Url::parse("https://h/a.mp4").ok().as_ref())
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_file_appears_whole_at_the_end_and_not_before() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().into());
        let mut upload = folder.begin(&key(), Uuid::new_v4()).await.unwrap();
        upload.write(b"half").await.unwrap();
        assert!(!folder.path(&key()).exists());
        upload.write(b" and half").await.unwrap();
        upload.finish().await.unwrap();
        assert_eq!(std::fs::read(folder.path(&key())).unwrap(), b"half and half");
        assert_eq!(names(folder.path(&key()).parent().unwrap()), ["0-a.mp4"]);
    }

    #[tokio::test]
    async fn an_aborted_file_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().into());
        let mut upload = folder.begin(&key(), Uuid::new_v4()).await.unwrap();
        upload.write(b"half").await.unwrap();
        upload.abort().await;
        assert_eq!(names(folder.path(&key()).parent().unwrap()), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_writer_that_was_overtaken_cannot_put_its_half_in_the_place_of_the_whole() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().into());
        let mut first = folder.begin(&key(), Uuid::new_v4()).await.unwrap();
        first.write(b"half").await.unwrap();
        let mut second = folder.begin(&key(), Uuid::new_v4()).await.unwrap();
        first.write(b" of the first").await.unwrap();
        second.write(b"whole").await.unwrap();
        assert!(first.finish().await.is_err());
        second.finish().await.unwrap();
        assert_eq!(std::fs::read(folder.path(&key())).unwrap(), b"whole");
        assert_eq!(names(folder.path(&key()).parent().unwrap()), ["0-a.mp4"]);
    }

    #[tokio::test]
    async fn a_probe_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        Folder::at(root.path().join("new")).probe().await.unwrap();
        assert_eq!(names(&root.path().join("new")), Vec::<String>::new());
    }
}
