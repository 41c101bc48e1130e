//! Finds the server's programs.
//!
//! `initdb` and `postgres` are taken from one folder, so that they have the same version: `PG_BIN_DIR` if it is set, or
//! else the first folder on `PATH` that has both. The places where packages put them are known to
//! `scripts/lib/postgres.sh`, which sets `PG_BIN_DIR` for everything that cargo or a script starts.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::Error;

/// A folder that has both programs.
#[derive(Debug)]
pub(super) struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Searches as this process's environment says.
    pub(super) fn find() -> Result<Self, Error> {
        Self::find_in(env::var_os("PG_BIN_DIR").as_deref(), env::var_os("PATH").as_deref())
    }

    fn find_in(named: Option<&OsStr>, path: Option<&OsStr>) -> Result<Self, Error> {
        if let Some(named) = named.filter(|named| !named.is_empty()) {
            let folder = PathBuf::from(named);
            // Another version than the one asked for would help nobody.
            return if has_both(&folder) { Ok(Self { folder }) } else { Err(Error::NotInNamedFolder { folder }) };
        }
        let mut folders = path.into_iter().flat_map(env::split_paths);
        // Absolute only: the programs run in another working directory.
        let found = folders.find(|folder| folder.is_absolute() && has_both(folder));
        found.map(|folder| Self { folder }).ok_or(Error::NotInstalled)
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }
}

fn has_both(folder: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| is_executable(&folder.join(program)))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        for program in ["initdb", "postgres"] {
            fs::write(folder.join(program), "").unwrap();
            fs::set_permissions(folder.join(program), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn the_named_folder_comes_before_path_and_a_folder_with_one_program_is_skipped() {
        let root = tempfile::tempdir().unwrap();
        let [named, incomplete, on_path] = ["named", "incomplete", "path"].map(|name| root.path().join(name));
        for folder in [&named, &incomplete, &on_path] {
            install(folder);
        }
        fs::remove_file(incomplete.join("initdb")).unwrap();
        let path = env::join_paths([&incomplete, &on_path]).unwrap();
        let find = |named: &OsStr| Binaries::find_in(Some(named), Some(&path)).unwrap().folder;
        assert_eq!(find(named.as_os_str()), named);
        assert_eq!(find(OsStr::new("")), on_path);
    }

    #[test]
    fn missing_programs_are_reported_in_one_line_with_how_to_get_them() {
        let empty = tempfile::tempdir().unwrap();
        let error = Binaries::find_in(None, Some(empty.path().as_os_str())).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::NotInstalled));
        assert!(text.contains("scripts/demo") && text.contains("PG_BIN_DIR") && !text.contains('\n'), "{text}");
    }

    #[test]
    fn a_named_folder_without_the_programs_is_an_error_even_if_path_has_them() {
        let root = tempfile::tempdir().unwrap();
        let on_path = root.path().join("path");
        install(&on_path);
        let error = Binaries::find_in(Some(root.path().as_os_str()), Some(on_path.as_os_str())).unwrap_err();
        assert!(error.to_string().contains(root.path().to_str().unwrap()), "{error}");
    }
}
