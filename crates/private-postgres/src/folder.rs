//! What stands in a cluster's folder, and how it is kept right over crashes: `server.log`, `data/`, `data.new/`, `socket/`.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{interval, timeout};

use super::binaries::Binaries;
use super::launch::{Launcher, Running};
use super::{Durability, Error, IoAt as _, LOOK_EVERY, PORT};

/// The longest socket path that every system takes (macOS: 104 bytes with the final zero; Linux: 108).
const LONGEST_SOCKET_PATH: usize = 103;
/// How long a start waits for the end of a server whose program was killed.
const FREE_WITHIN: Duration = Duration::from_secs(3);
const LOG_LINES_IN_ERROR: usize = 12;

/// The server's log, which is its lock as well. The server's processes have it open as their standard error, so that the lock is
/// held for as long as any of them lives, and is free when none does, whatever a pid file says.
pub(super) struct Log {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

impl Log {
    /// Waits a moment for a server that is just ending; empties the log.
    pub(super) async fn lock(folder: &Path, data: &Path) -> Result<Self, Error> {
        let path = folder.join("server.log");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).at("open", &path)?;
        let mut look = interval(LOOK_EVERY);
        let locked = async {
            loop {
                look.tick().await;
                match file.try_lock() {
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(error),
                    Ok(()) => return Ok(()),
                }
            }
        };
        match timeout(FREE_WITHIN, locked).await {
            Ok(locked) => locked.at("lock", &path)?,
            Err(_) => return Err(Error::InUse { folder: folder.to_path_buf(), pid: written_pid(data) }),
        }
        file.set_len(0).at("empty", &path)?;
        Ok(Self { file, path })
    }

    pub(super) fn tail(&self) -> String {
        let text = fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_IN_ERROR)..].join("\n")
    }

    pub(super) fn ended(&self, program: &'static str, status: ExitStatus) -> Error {
        Error::Ended { program, status, log: self.path.clone(), tail: self.tail() }
    }
}

pub(super) async fn initdb(
    binaries: &Binaries,
    launcher: &Launcher,
    log: &Log,
    folder: &Path,
    durability: Durability,
) -> Result<(), Error> {
    let new = folder.join("data.new");
    remove_folder(&new)?;
    DirBuilder::new().mode(0o700).create(&new).at("make the folder", &new)?;
    launcher.give(&new)?;
    let mut command = launcher.command(&binaries.initdb(), &log.file)?;
    command.arg("-D").arg(launcher.inside("data.new"));
    command.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    if durability == Durability::Thrown {
        command.arg("--no-sync");
    }
    // SIGKILL, because what it has done so far is thrown away.
    let mut running = Running::spawn(command, &binaries.initdb(), Signal::KILL)?;
    let status = running.wait().await.at("wait for", &binaries.initdb())?;
    if !status.success() {
        return Err(log.ended("initdb", status));
    }
    fs::rename(&new, folder.join("data")).at("rename", &new)
}

/// The socket's folder, and its name for the server, which works in `data/`: a relative one, which needs neither the way to the
/// folder nor quotes in the server's list of folders.
pub(super) fn make_socket_folder(folder: &Path) -> Result<(TempDir, PathBuf), Error> {
    let socket = folder.join("socket");
    remove_folder(&socket)?;
    let length = socket.join(format!(".s.PGSQL.{PORT}")).as_os_str().len();
    let mut builder = tempfile::Builder::new();
    builder.permissions(Permissions::from_mode(0o700));
    if length <= LONGEST_SOCKET_PATH {
        let made = builder.prefix("socket").rand_bytes(0).tempdir_in(folder).at("make the folder", &socket)?;
        return Ok((made, PathBuf::from("../socket")));
    }
    // Not the system's temporary folder, which can be as long (macOS).
    let made = builder.prefix("renderhook-").tempdir_in("/tmp").at("make a folder in", Path::new("/tmp"))?;
    let path = made.path().to_path_buf();
    Ok((made, path))
}

fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at("remove", folder),
    }
}

pub(super) fn check_version(data: &Path, server: &str) -> Result<(), Error> {
    let file = data.join("PG_VERSION");
    let data_version = fs::read_to_string(&file).at("read", &file)?;
    let data_version = data_version.trim();
    // Before 10 a major version had two numbers; `17beta1` is version 17.
    let rest = server.strip_prefix(data_version);
    if rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit())) {
        return Ok(());
    }
    Err(Error::OtherVersion { folder: data.to_path_buf(), data: data_version.to_owned(), server: server.to_owned() })
}

fn written_pid(data: &Path) -> Option<i32> {
    fs::read_to_string(data.join("postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()
}

/// Takes the number out of a crashed server's pid file if it belongs to a process that is no Postgres.
///
/// Postgres clears a stale file by itself, unless some process of the same user has the number again, which is likely in a
/// container, where numbers start low. The rest of the file stays, because Postgres reads in it which shared memory to look at
/// and to free; every other case is left to its judgement. Called under the lock.
pub(super) fn forget_reused_pid(data: &Path) -> Result<(), Error> {
    /// Higher than any system gives.
    const NO_PROCESS: i32 = i32::MAX;
    let file = data.join("postmaster.pid");
    let text = fs::read_to_string(&file).unwrap_or_default();
    let Some((pid, rest)) = text.split_once('\n') else { return Ok(()) };
    // Without `/proc` there is no name, and nothing is changed.
    let Ok(name) = fs::read_to_string(format!("/proc/{}/comm", pid.trim())) else { return Ok(()) };
    if matches!(name.trim(), "postgres" | "postmaster") {
        return Ok(());
    }
    fs::write(&file, format!("{NO_PROCESS}\n{rest}")).at("write", &file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pid_file_loses_the_number_of_a_process_that_is_no_postgres_and_keeps_the_rest() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("postmaster.pid");
        let after = |pid: u32| {
            fs::write(&file, format!("{pid}\n/data\nready\n")).unwrap();
            forget_reused_pid(data.path()).unwrap();
            fs::read_to_string(&file).unwrap()
        };
        assert_eq!(after(std::process::id()), "2147483647\n/data\nready\n");
        assert_eq!(after(u32::MAX), "4294967295\n/data\nready\n");
        fs::remove_file(&file).unwrap();
        forget_reused_pid(data.path()).unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn data_is_read_by_its_own_major_version_alone() {
        let data = tempfile::tempdir().unwrap();
        let readable = |made_by: &str, server: &str| {
            fs::write(data.path().join("PG_VERSION"), format!("{made_by}\n")).unwrap();
            check_version(data.path(), server).is_ok()
        };
        assert!(readable("15", "15.18") && readable("17", "17beta1") && readable("9.6", "9.6.24"));
        assert!(!readable("1", "15.18") && !readable("15", "17.2") && !readable("9.6", "9.5.1"));
    }
}
