//! Where the server's programs are.
//!
//! `initdb` and `postgres` are taken from one folder, so that they are of one version. The first of these that holds both wins:
//! `PG_BIN_DIR`; a folder on `PATH`; the places where packages put them, highest version first (Debian keeps them off `PATH`).
//! A `PG_BIN_DIR` that does not hold them is an error: running another version than the one asked for helps nobody.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::Error;

/// Where packages put the programs. A `*` stands for one folder name's version: digits, or digits and more (`17`, `9.6`).
const PACKAGED: [&str; 9] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/usr/lib/postgresql*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/local/pgsql/bin",
];

/// A folder that holds both programs.
#[derive(Debug)]
pub(super) struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Looks in this process's environment, then in the packages' places.
    pub(super) fn find() -> Result<Self, Error> {
        Self::find_among(env::var_os("PG_BIN_DIR").as_deref(), env::var_os("PATH").as_deref(), &PACKAGED)
    }

    fn find_among(named: Option<&OsStr>, path: Option<&OsStr>, packaged: &[&str]) -> Result<Self, Error> {
        if let Some(named) = named.filter(|named| !named.is_empty()) {
            let folder = PathBuf::from(named);
            return if holds_both(&folder) { Ok(Self { folder }) } else { Err(Error::NotInNamedFolder { folder }) };
        }
        let on_path = path.into_iter().flat_map(env::split_paths);
        let installed = packaged.iter().flat_map(|place| expand(place));
        // Absolute only: the programs run from another working directory than ours.
        let mut folders = on_path.chain(installed).filter(|folder| folder.is_absolute());
        folders.find(|folder| holds_both(folder)).map(|folder| Self { folder }).ok_or(Error::NotInstalled)
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }
}

fn holds_both(folder: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| is_executable(&folder.join(program)))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The folders that a place with one `*` stands for, highest version first; a place without one stands for itself.
fn expand(place: &str) -> Vec<PathBuf> {
    let Some((before, after)) = place.split_once('*') else {
        return vec![PathBuf::from(place)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let mut found: Vec<(Vec<u32>, PathBuf)> = fs::read_dir(format!("{parent}/"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = version_of(name.strip_prefix(prefix)?)?;
            Some((version, PathBuf::from(format!("{parent}/{name}{after}"))))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().rev().map(|(_, folder)| folder).collect()
}

/// `9.6` and `17` in an order in which 17 is the higher one; nothing for a name that is not a version.
fn version_of(text: &str) -> Option<Vec<u32>> {
    text.split('.').map(|part| part.parse().ok()).collect()
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
    fn the_named_folder_comes_before_the_path_and_the_path_before_packages() {
        let root = tempfile::tempdir().unwrap();
        let [named, on_path, packaged] = ["named", "path", "packaged"].map(|name| root.path().join(name));
        for folder in [&named, &on_path, &packaged] {
            install(folder);
        }
        let path = env::join_paths([root.path(), &on_path]).unwrap();
        let places = [packaged.to_str().unwrap()];
        let find =
            |named: Option<&OsStr>, path: Option<&OsStr>| Binaries::find_among(named, path, &places).unwrap().folder;
        assert_eq!(find(Some(named.as_os_str()), Some(&path)), named);
        assert_eq!(find(Some(OsStr::new("")), Some(&path)), on_path);
        assert_eq!(find(None, None), packaged);
    }

    #[test]
    fn the_highest_version_wins_by_number_and_half_an_installation_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9.6", "15", "17", "common"] {
            install(&root.path().join(version).join("bin"));
        }
        fs::remove_file(root.path().join("17/bin/initdb")).unwrap();
        let place = format!("{}/*/bin", root.path().display());
        let found = Binaries::find_among(None, None, &[&place]).unwrap();
        assert_eq!(found.folder, root.path().join("15/bin"));
    }

    #[test]
    fn programs_that_are_nowhere_are_told_in_one_line_with_how_to_get_them() {
        let empty = tempfile::tempdir().unwrap();
        let error = Binaries::find_among(None, Some(empty.path().as_os_str()), &["/nowhere/*/bin"]).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::NotInstalled));
        assert!(
            text.contains("apt-get install postgresql") && text.contains("PG_BIN_DIR") && !text.contains('\n'),
            "{text}"
        );
    }

    #[test]
    fn a_named_folder_without_the_programs_is_an_error_even_if_others_hold_them() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = root.path().join("elsewhere");
        install(&elsewhere);
        let error = Binaries::find_among(Some(root.path().as_os_str()), Some(elsewhere.as_os_str()), &[]).unwrap_err();
        assert!(error.to_string().contains(root.path().to_str().unwrap()), "{error}");
    }
}
