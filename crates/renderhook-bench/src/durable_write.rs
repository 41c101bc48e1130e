//! The floor of small files: what the disk takes if every file and its name are on it before the next begins.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// How many threads write at once.
const THREADS: usize = 8;

/// Which files share a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// All of them.
    OneFolder,
    /// None: each has one of its own, as each render has.
    FolderEach,
}

/// Writes `files` new files of `content` below `folder`, each durably. Returns how many per second.
pub(crate) fn measure(folder: &Path, layout: Layout, files: usize, content: &[u8]) -> io::Result<f64> {
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|_| scope.spawn(|| write_all(folder, layout, files, content, &next))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread that does not panic"))
    })?;
    #[expect(clippy::cast_precision_loss, reason = "counts this small are exact")]
    Ok(files as f64 / begun.elapsed().as_secs_f64())
}

fn write_all(folder: &Path, layout: Layout, files: usize, content: &[u8], next: &AtomicUsize) -> io::Result<()> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= files {
            return Ok(());
        }
        match layout {
            Layout::OneFolder => write(folder, number, content)?,
            Layout::FolderEach => {
                let own = folder.join(number.to_string());
                fs::create_dir(&own)?;
                write(&own, number, content)?;
                File::open(folder)?.sync_all()?;
            }
        }
    }
}

/// A write, `fdatasync`, a rename, and a sync of the folder.
fn write(folder: &Path, number: usize, content: &[u8]) -> io::Result<()> {
    let part = folder.join(format!(".{number}.part"));
    let mut file = File::create_new(&part)?;
    file.write_all(content)?;
    file.sync_data()?;
    drop(file);
    fs::rename(&part, folder.join(number.to_string()))?;
    File::open(folder)?.sync_all()
}
