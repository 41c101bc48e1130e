//! The docs match the program.

mod architecture;
mod contributing;
mod develop;
mod downloads;
mod events;
mod logs;
mod metrics;
mod names;
mod readme;
mod security;
mod tables;
mod test_names;
mod type_names;

use std::fs;
use std::path::{Path, PathBuf};

/// The texts in backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The files with this extension below a folder.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files = entries.flat_map(|path| if path.is_dir() { files(&path, extension) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}
