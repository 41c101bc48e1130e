//! Where an object is in a folder, and the hidden part files beside it, one for each writer. Everything here blocks.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::domain::ObjectKey;

/// The end of the name of a file that is still being written.
pub(super) const PART_SUFFIX: &str = ".part";

/// The paths around one object.
#[derive(Debug)]
pub(super) struct ObjectPath {
    object: PathBuf,
    folder: PathBuf,
    /// What the names of all its part files begin with.
    prefix: String,
}

impl ObjectPath {
    /// The paths of the object with this key in the store at `root`.
    pub(super) fn new(root: &Path, key: &ObjectKey) -> Self {
        let object = root.join(key.as_str());
        let folder = object.parent().unwrap_or(&object).to_owned();
        Self { object, folder, prefix: format!(".{}.", key.file_name()) }
    }

    /// Where the object is, or will be.
    pub(super) fn object(&self) -> &Path {
        &self.object
    }

    /// The folder that all of them are in.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The part file of the writer with this token.
    pub(super) fn part(&self, token: Uuid) -> PathBuf {
        self.folder.join(format!("{}{}{PART_SUFFIX}", self.prefix, token.simple()))
    }

    /// Creates a part file, and its folder if that is missing.
    pub(super) fn create(&self, part: &Path) -> io::Result<File> {
        match File::create_new(part) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(&self.folder)?;
                File::create_new(part)
            }
            created => created,
        }
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
    pub(super) fn remove_parts(&self, mine: Option<&Path>) -> io::Result<()> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let is_mine = Some(entry.path().as_path()) == mine;
            if !is_mine && entry.file_name().to_str().is_some_and(|name| self.is_part(name)) {
                fs::remove_file(entry.path()).or_else(ignore_gone)?;
            }
        }
        Ok(())
    }

    /// Deletes the object and all part files, and their folder if nothing else is in it.
    pub(super) fn delete(&self) -> io::Result<()> {
        self.remove_parts(None)?;
        fs::remove_file(&self.object).or_else(ignore_gone)?;
        match File::open(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            folder => folder?.sync_all()?,
        }
        // OK to ignore: another object may be in it, or another process may have removed it.
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }

    fn is_part(&self, name: &str) -> bool {
        name.starts_with(&self.prefix) && name.ends_with(PART_SUFFIX)
    }
}

/// A file that is gone need not be removed.
pub(super) fn ignore_gone(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
