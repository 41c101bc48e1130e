//! Makes names durable: a file's name is on the disk once its folder is synced, and a folder's once its parent is.
//!
//! A new folder needs every folder above it synced, up to the one that holds the store. For a folder that was synced
//! together with those above, its own sync is enough; so this process remembers such folders, each by its path and the
//! time of its creation: a folder that was deleted and created again is another one. Callers that wait for the same folder
//! share its syncs. Everything here blocks.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::shared_sync::SharedSync;

/// A folder: its path and when it was created.
type FolderBirth = (PathBuf, SystemTime);

/// How many folders are remembered before it starts over.
const MAX_REMEMBERED: usize = 4096;

/// The folders of a store. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct DurableFolders {
    root: Arc<Path>,
    /// Folders whose names are on the disk, with the names of all folders above, and when each was made.
    remembered: Arc<Mutex<HashMap<PathBuf, SystemTime>>>,
    /// Those that somebody syncs.
    syncing: Arc<Mutex<HashMap<FolderBirth, Arc<SharedSync>>>>,
}

impl DurableFolders {
    /// The folders of the store at `root`.
    pub(super) fn below(root: &Path) -> Self {
        Self { root: root.into(), remembered: Arc::default(), syncing: Arc::default() }
    }

    /// Returns once a power cut cannot undo what was created in `folder`, or renamed into it, before the call.
    pub(super) fn sync(&self, folder: &Path) -> io::Result<()> {
        let mut synced = Vec::new();
        let inside = folder.ancestors().take_while(|folder| folder.starts_with(&self.root));
        for folder in inside {
            let opened = File::open(folder)?;
            // Where the file system does not say when a folder was made, its syncs are not shared, and it is not
            // remembered.
            let Ok(made_at) = opened.metadata()?.created() else {
                opened.sync_all()?;
                continue;
            };
            self.share_sync(&(folder.to_owned(), made_at), &opened)?;
            if lock(&self.remembered).get(folder) == Some(&made_at) {
                self.remember(synced);
                return Ok(());
            }
            synced.push((folder.to_owned(), made_at));
        }
        self.root.parent().map_or(Ok(()), sync_if_readable)?;
        self.remember(synced);
        Ok(())
    }

    fn share_sync(&self, folder: &FolderBirth, opened: &File) -> io::Result<()> {
        let syncs = lock(&self.syncing).entry(folder.clone()).or_default().clone();
        let synced = syncs.run(|| opened.sync_all());
        let mut syncing = lock(&self.syncing);
        // Only the map and this call hold it.
        if Arc::strong_count(&syncs) == 2 {
            syncing.remove(folder);
        }
        synced
    }

    fn remember(&self, folders: Vec<FolderBirth>) {
        let mut remembered = lock(&self.remembered);
        if remembered.len() + folders.len() > MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.extend(folders);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sync_if_readable(folder: &Path) -> io::Result<()> {
    match File::open(folder) {
        Ok(folder) => folder.sync_all(),
        // OK because a process that may not read the folder above the store did not make the store's folder there.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn remembered(folders: &DurableFolders) -> Vec<PathBuf> {
        let mut paths: Vec<_> = lock(&folders.remembered).keys().cloned().collect();
        paths.sort();
        paths
    }

    #[test]
    fn a_folder_is_remembered_once_it_and_all_above_are_synced() {
        let above = tempfile::tempdir().unwrap();
        let root = above.path().join("store");
        let (one, other) = (root.join("video/one"), root.join("video/other"));
        fs::create_dir_all(&one).unwrap();
        fs::create_dir_all(&other).unwrap();
        let folders = DurableFolders::below(&root);
        assert!(folders.sync(&root.join("video/missing")).is_err());
        assert_eq!(remembered(&folders), [] as [PathBuf; 0]);
        folders.sync(&one).unwrap();
        assert_eq!(remembered(&folders), [root.clone(), root.join("video"), one.clone()]);
        folders.sync(&other).unwrap();
        assert_eq!(remembered(&folders), [root.clone(), root.join("video"), one, other]);
        assert!(lock(&folders.syncing).is_empty());
    }

    #[test]
    fn a_folder_that_was_made_again_is_another_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("video");
        fs::create_dir(&folder).unwrap();
        let folders = DurableFolders::below(root.path());
        folders.sync(&folder).unwrap();
        // As if it had been made at another time: what a test makes again within a tick of the clock has the same.
        lock(&folders.remembered).insert(folder.clone(), SystemTime::UNIX_EPOCH);
        lock(&folders.remembered).remove(root.path());
        folders.sync(&folder).unwrap();
        assert_eq!(remembered(&folders), [root.path().to_owned(), folder.clone()]);
        assert_ne!(lock(&folders.remembered)[&folder], SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn memory_is_bounded() {
        let root = tempfile::tempdir().unwrap();
        let folders = DurableFolders::below(root.path());
        let many = (0..MAX_REMEMBERED).map(|number| (PathBuf::from(number.to_string()), SystemTime::UNIX_EPOCH));
        folders.remember(many.collect());
        folders.sync(root.path()).unwrap();
        assert_eq!(remembered(&folders), [root.path().to_owned()]);
    }
}
