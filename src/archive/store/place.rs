//! An object's place in a folder: where it appears, and the hidden parts beside it, one a writer.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::{self, File};
use uuid::Uuid;

use crate::domain::ObjectKey;

/// The end of the name of a file that is still being written.
pub(super) const PART: &str = ".part";

/// The names around one object.
#[derive(Debug)]
pub(super) struct Place {
    target: PathBuf,
    folder: PathBuf,
    /// What the names of all its parts begin with.
    prefix: String,
}

impl Place {
    /// Around the object at `target`, whose key is `key`.
    pub(super) fn of(target: PathBuf, key: &ObjectKey) -> Self {
        let folder = target.parent().unwrap_or(&target).to_owned();
        Self { target, folder, prefix: format!(".{}.", key.file_name()) }
    }

    /// Makes the folder in which all of them are.
    pub(super) async fn make(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder).await
    }

    /// The part of the writer with this token.
    pub(super) fn part(&self, token: Uuid) -> PathBuf {
        self.folder.join(format!("{}{}{PART}", self.prefix, token.simple()))
    }

    /// Puts a part that is whole and on the disk in the object's place.
    pub(super) async fn put(&self, part: &Path) -> io::Result<()> {
        fs::rename(part, &self.target).await?;
        // The rename itself is in the folder, which has to reach the disk as well.
        File::open(&self.folder).await?.sync_all().await
    }

    /// The part of an earlier writer by its name, which has to be one of this object's.
    pub(super) fn earlier(&self, name: &str) -> io::Result<PathBuf> {
        if name.starts_with(&self.prefix) && name.ends_with(PART) && !name.contains(['/', '\\']) {
            Ok(self.folder.join(name))
        } else {
            Err(io::Error::other("no part of this object"))
        }
    }
}

/// Removes what other writers of the same object left, but not `mine`.
pub(super) async fn remove_parts(place: &Place, mine: Option<&Path>) -> io::Result<()> {
    let mut entries = fs::read_dir(&place.folder).await?;
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name();
        if Some(entry.path().as_path()) == mine {
            continue;
        }
        if name.to_str().is_some_and(|name| name.starts_with(&place.prefix) && name.ends_with(PART)) {
            fs::remove_file(entry.path()).await.or_else(gone)?;
        }
    }
    Ok(())
}

/// What is gone need not be removed.
pub(super) fn gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
