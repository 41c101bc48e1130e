//! The hidden file that a writer fills before it becomes the object. Everything here blocks.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Instant;

use uuid::Uuid;

use super::durable_folders::DurableFolders;
use super::object_path::{ObjectPath, ignore_gone};

/// A part file, which is created when the first bytes are written.
#[derive(Debug)]
pub(super) struct FolderPart {
    paths: ObjectPath,
    path: PathBuf,
    created: OnceLock<Created>,
    folders: DurableFolders,
}

#[derive(Debug)]
struct Created {
    file: File,
    /// When it was there for sure.
    at: Instant,
}

impl Created {
    fn now(file: File) -> Self {
        Self { file, at: Instant::now() }
    }
}

impl FolderPart {
    /// The part file of the writer with this token.
    pub(super) fn new(paths: ObjectPath, token: Uuid, folders: DurableFolders) -> Self {
        let path = paths.part(token);
        Self { paths, path, created: OnceLock::new(), folders }
    }

    /// Takes over the first `bytes` of an earlier writer's part file, and gives it a name of its own: the earlier writer can
    /// no longer publish it.
    pub(super) fn resume(self, earlier: &str, bytes: u64) -> io::Result<Self> {
        fs::rename(self.paths.earlier_part(earlier)?, &self.path)?;
        self.paths.remove_parts(Some(&self.path))?;
        let mut file = File::options().write(true).open(&self.path)?;
        if file.metadata()?.len() < bytes {
            return Err(io::Error::other("some of the saved bytes are gone"));
        }
        file.set_len(bytes)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { created: Created::now(file).into(), ..self })
    }

    /// Its name, by which a successor finds it.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Adds bytes. Not for two threads at once.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.created()?.file).write_all(bytes)
    }

    /// Returns once its bytes are on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.created()?.file.sync_data()
    }

    /// Makes it the object. Returns once a power cut cannot undo that.
    ///
    /// A successor begins by removing this file, so a late rename finds nothing. For that, the file must have been there
    /// when the successor began: it must have been created by `held_until`, while its writer certainly had the lease.
    pub(super) fn publish(&self, held_until: Instant) -> io::Result<()> {
        let created = self.created()?;
        if created.at >= held_until {
            return Err(io::Error::new(ErrorKind::TimedOut, "the disk took too long to create a file"));
        }
        created.file.sync_data()?;
        fs::rename(&self.path, self.paths.object())?;
        self.folders.sync(self.paths.folder())
    }

    /// Removes it, if it is there.
    pub(super) fn remove(&self) -> io::Result<()> {
        if self.created.get().is_some() { fs::remove_file(&self.path).or_else(ignore_gone) } else { Ok(()) }
    }

    fn created(&self) -> io::Result<&Created> {
        if let Some(created) = self.created.get() {
            return Ok(created);
        }
        self.paths.remove_parts(None)?;
        let created = Created::now(self.paths.create(&self.path)?);
        Ok(self.created.get_or_init(|| created))
    }
}
