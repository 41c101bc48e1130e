//! Where an object is in a folder, and the hidden part files beside it, one for each writer.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::domain::ObjectKey;

/// The end of the name of a file that is still being written.
pub(super) const PART_SUFFIX: &str = ".part";

/// The paths around one object.
#[derive(Debug)]
pub(super) struct ObjectPath {
    object: PathBuf,
    folder: PathBuf,
    /// The store's folder.
    root: PathBuf,
    /// What the names of all its part files begin with.
    prefix: String,
}

impl ObjectPath {
    /// The paths of the object with this key in the store at `root`.
    pub(super) fn new(root: &Path, key: &ObjectKey) -> Self {
        let object = root.join(key.as_str());
        let folder = object.parent().unwrap_or(&object).to_owned();
        Self { object, folder, root: root.to_owned(), prefix: format!(".{}.", key.file_name()) }
    }

    /// Makes the folder that all of them are in.
    pub(super) async fn make_folder(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder).await
    }

    /// The part file of the writer with this token.
    pub(super) fn part(&self, token: Uuid) -> PathBuf {
        self.folder.join(format!("{}{}{PART_SUFFIX}", self.prefix, token.simple()))
    }

    /// Makes a part file, whole and synced to the disk, the object.
    pub(super) async fn publish(&self, part: &Path) -> io::Result<()> {
        fs::rename(part, &self.object).await?;
        let folders = self.folders_to_sync();
        spawn_blocking(move || folders.iter().try_for_each(|folder| sync(folder))).await?
    }

    /// The folders that a power cut must not undo: the one with the object, and each one that holds the next, up to
    /// the one that holds the store. They may be new, made by this writer or by another one a moment ago.
    fn folders_to_sync(&self) -> Vec<PathBuf> {
        let is_inside = |folder: &&Path| folder.starts_with(&self.root);
        let inside = self.folder.ancestors().take_while(is_inside);
        inside.chain(self.root.parent()).map(Path::to_owned).collect()
    }

    /// The part file of an earlier writer by its name, which must be one of this object's.
    pub(super) fn earlier_part(&self, name: &str) -> io::Result<PathBuf> {
        if self.is_part(name) && !name.contains(['/', '\\']) {
            Ok(self.folder.join(name))
        } else {
            Err(io::Error::other("not a part of this object"))
        }
    }

    /// Removes the part files of other writers, but not `mine`.
    pub(super) async fn remove_parts(&self, mine: Option<&Path>) -> io::Result<()> {
        let mut entries = fs::read_dir(&self.folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            let is_mine = Some(entry.path().as_path()) == mine;
            if !is_mine && entry.file_name().to_str().is_some_and(|name| self.is_part(name)) {
                fs::remove_file(entry.path()).await.or_else(ignore_gone)?;
            }
        }
        Ok(())
    }

    fn is_part(&self, name: &str) -> bool {
        name.starts_with(&self.prefix) && name.ends_with(PART_SUFFIX)
    }
}

/// Brings a folder's entries to the disk.
fn sync(folder: &Path) -> io::Result<()> {
    match std::fs::File::open(folder) {
        Ok(folder) => folder.sync_all(),
        // OK because who may not read the folder above the store did not make the store's folder there.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// A file that is gone need not be removed.
pub(super) fn ignore_gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Kind;

    #[test]
    fn every_folder_between_the_object_and_the_one_that_holds_the_store_is_synced() {
        let key = ObjectKey::new(Kind::Video, &"id".parse().unwrap(), 0, None);
        let folders = ObjectPath::new(Path::new("/data/store"), &key).folders_to_sync();
        let expected = ["/data/store/video/id", "/data/store/video", "/data/store", "/data"];
        assert_eq!(folders, expected.map(PathBuf::from));
        let top = ObjectPath::new(Path::new("/"), &key).folders_to_sync();
        assert_eq!(top, ["/video/id", "/video", "/"].map(PathBuf::from));
    }
}
