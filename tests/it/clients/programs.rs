//! Programs of applications, with the packages in `target/clients`, where `scripts/test` installs them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

pub(super) use crate::support::listening::{free_port, start};
use crate::support::skip;

/// A language that applications are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    Node,
}

fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients")
}

/// The packages that are to be there, as the script that installs them writes it down.
fn wanted() -> String {
    let lines = include_str!("../../../scripts/lib/clients.sh").lines();
    let lists = lines.filter_map(|line| line.split_once("_packages=(")?.1.strip_suffix(')'));
    lists.collect::<Vec<_>>().join(" ")
}

/// Whether the packages are installed; if not, that is said.
pub(super) fn are_installed() -> bool {
    let installed = std::fs::read_to_string(packages().join("complete")).unwrap_or_default();
    let is_complete = installed.trim_end() == wanted();
    if !is_complete {
        skip("the packages in target/clients are missing, or others are there (scripts/test installs them)");
    }
    is_complete
}

/// A folder from which Node finds its modules.
pub(super) fn folder() -> TempDir {
    TempDir::new_in(packages()).unwrap()
}

/// The program of a language, without a script.
pub(super) fn interpreter(language: Language) -> Command {
    let mut command = match language {
        Language::Python => Command::new(packages().join("python/bin/python")),
        Language::Node => Command::new("node"),
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A file of the repository, copied into `folder`.
pub(super) fn copy(file: &str, folder: &TempDir) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let copy = folder.path().join(file.file_name().unwrap());
    std::fs::copy(file, &copy).unwrap();
    copy
}
