//! Why a cluster does not run, in words for the person who started it: what is wrong, then what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why there is no running server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither `PG_BIN_DIR` nor `PATH` has the server's programs.
    #[error(
        "no Postgres server found (initdb and postgres): start this with scripts/demo or cargo, which find or install one, \
         or set PG_BIN_DIR to the folder of its programs"
    )]
    NotInstalled,
    /// `PG_BIN_DIR` is set to a folder without the programs.
    #[error("PG_BIN_DIR is {}, which does not hold initdb and postgres: correct it, or unset it to use what is installed", folder.display())]
    NotInNamedFolder {
        /// The value of `PG_BIN_DIR`.
        folder: PathBuf,
    },
    /// This process is root and there is no user to run the server as.
    #[error(
        "Postgres does not run as root, and /etc/passwd has no user `postgres` or `nobody` to run it as: start this as an ordinary user"
    )]
    NoAccount,
    /// Another server has this folder.
    #[error("{} is in use by a running Postgres{}: stop that first", folder.display(), pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The cluster's folder.
        folder: PathBuf,
        /// The server's process, if it has written it down.
        pid: Option<i32>,
    },
    /// The data in the folder was written by another major version, which cannot be read.
    #[error(
        "{} was made by Postgres {data}, and the server found is {server}: remove the folder, or name version {data}'s programs in PG_BIN_DIR",
        folder.display()
    )]
    OtherVersion {
        /// The data's folder.
        folder: PathBuf,
        /// The major version that made the data.
        data: String,
        /// The version of the programs found.
        server: String,
    },
    /// A program of the server ended where it should not have.
    #[error("{program} ended ({status}); the end of {}:\n{tail}", log.display())]
    Ended {
        /// `initdb` or `postgres`.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The file with all that it said.
        log: PathBuf,
        /// The last lines of that file.
        tail: String,
    },
    /// The server lives, but takes no connections yet.
    #[error("Postgres was not ready within {} s; the end of {}:\n{tail}", super::START_WITHIN.as_secs(), log.display())]
    NotReady {
        /// The file with all that it said.
        log: PathBuf,
        /// The last lines of that file.
        tail: String,
    },
    /// The operating system refused something.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// Why it was refused.
        source: io::Error,
    },
}

/// Says what was tried, where it was tried.
pub(super) trait IoAt<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> IoAt<T> for Result<T, E> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|error| Error::Io { doing, path: path.to_path_buf(), source: error.into() })
    }
}
