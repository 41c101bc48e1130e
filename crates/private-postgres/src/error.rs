//! Why a cluster does not run: each message says what is wrong and what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why a server does not run.
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
    /// This process is root, and there is no other user to run the server as.
    #[error(
        "Postgres does not run as root, and /etc/passwd has no user `postgres` or `nobody` to run it as: start this as an ordinary user"
    )]
    NoUser,
    /// Another server uses this folder.
    #[error("{} is in use by a running Postgres{}: stop that first", folder.display(), pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The cluster's folder.
        folder: PathBuf,
        /// The server's process id, if its pid file has it.
        pid: Option<i32>,
    },
    /// Another major version created the data.
    #[error(
        "{} was created by Postgres {data}, and the server found is {server}: delete the folder, or set PG_BIN_DIR to the programs of version {data}",
        folder.display()
    )]
    OtherVersion {
        /// The folder of the data.
        folder: PathBuf,
        /// The major version that created the data.
        data: String,
        /// The version of the programs found.
        server: String,
    },
    /// A program of the server ended unexpectedly.
    #[error("{program} ended ({status}); the end of {}:\n{tail}", log.display())]
    Ended {
        /// `initdb` or `postgres`.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// The server runs, but does not accept connections yet.
    #[error("Postgres was not ready within {} s; the end of {}:\n{tail}", super::START_TIMEOUT.as_secs(), log.display())]
    NotReady {
        /// The log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// The operating system returned an error.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The operation.
        doing: &'static str,
        /// Its object.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}

/// Adds the operation and its object to an error.
pub(super) trait IoAt<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> IoAt<T> for Result<T, E> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|error| Error::Io { doing, path: path.to_path_buf(), source: error.into() })
    }
}
