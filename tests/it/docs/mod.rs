//! The docs match the program.

mod architecture;
mod contributing;
mod develop;
mod logs;
mod metrics;
mod readme;
mod security;
mod tables;
mod test_names;
mod type_names;

use std::fs;
use std::path::{Path, PathBuf};

/// The files with this extension below a folder.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files = entries.flat_map(|path| if path.is_dir() { files(&path, extension) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}
