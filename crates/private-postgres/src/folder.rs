//! The files of a cluster's folder (`server.log`, `data/`, `data.new/`, `socket/`), and how they survive crashes.

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
use super::{Durability, Error, IoAt as _, POLL_INTERVAL, PORT};

/// The longest socket path that every system accepts (104 bytes with the final zero on macOS, 108 on Linux).
const LONGEST_SOCKET_PATH: usize = 103;
/// How long a start waits for an old server to end.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
const LOG_LINES_IN_ERROR: usize = 12;

/// The server's log, which is also its lock. It is the standard error of the server's processes, so the lock is held as
/// long as any of them runs, whatever a pid file says.
pub(super) struct Log {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

impl Log {
    /// Waits a moment for an ending server, then empties the log.
    pub(super) async fn lock(folder: &Path, data: &Path) -> Result<Self, Error> {
        let path = folder.join("server.log");
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).at("open", &path)?;
        let mut poll = interval(POLL_INTERVAL);
        let locked = async {
            loop {
                poll.tick().await;
                match file.try_lock() {
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(error),
                    Ok(()) => return Ok(()),
                }
            }
        };
        match timeout(LOCK_TIMEOUT, locked).await {
            Ok(locked) => locked.at("lock", &path)?,
            Err(_) => return Err(Error::InUse { folder: folder.to_path_buf(), pid: read_pid(data) }),
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
    DirBuilder::new().mode(0o700).create(&new).at("create the folder", &new)?;
    launcher.chown(&new)?;
    let mut command = launcher.command(&binaries.initdb(), &log.file)?;
    command.arg("-D").arg(launcher.inside("data.new"));
    command.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    if durability == Durability::Temporary {
        command.arg("--no-sync");
    }
    // SIGKILL, because an incomplete result is deleted anyway.
    let mut running = Running::spawn(command, &binaries.initdb(), Signal::KILL)?;
    let status = running.wait().await.at("wait for", &binaries.initdb())?;
    if !status.success() {
        return Err(log.ended("initdb", status));
    }
    fs::rename(&new, folder.join("data")).at("rename", &new)
}

/// Creates the socket's folder. Returns its path for the server, too: relative to `data/`, where the server runs, so that
/// it need not reach the parents, and the server's list of folders needs no quotes.
pub(super) fn make_socket_folder(folder: &Path) -> Result<(TempDir, PathBuf), Error> {
    let socket = folder.join("socket");
    remove_folder(&socket)?;
    let length = socket.join(format!(".s.PGSQL.{PORT}")).as_os_str().len();
    let mut builder = tempfile::Builder::new();
    builder.permissions(Permissions::from_mode(0o700));
    if length <= LONGEST_SOCKET_PATH {
        let created = builder.prefix("socket").rand_bytes(0).tempdir_in(folder).at("create the folder", &socket)?;
        return Ok((created, PathBuf::from("../socket")));
    }
    // Not the system's temporary folder, whose path can be as long (macOS).
    let created = builder.prefix("renderhook-").tempdir_in("/tmp").at("create a folder in", Path::new("/tmp"))?;
    let path = created.path().to_path_buf();
    Ok((created, path))
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

fn read_pid(data: &Path) -> Option<i32> {
    fs::read_to_string(data.join("postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()
}

/// Replaces the number in a crashed server's pid file if another program has it now.
///
/// Postgres removes a stale file by itself unless a process of the same user has the number, which is likely in a
/// container, where numbers start low. The rest of the file stays, because it names the shared memory that Postgres must
/// free. The caller holds the lock.
pub(super) fn forget_reused_pid(data: &Path) -> Result<(), Error> {
    /// Higher than any process id.
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
    fn the_pid_of_another_program_is_replaced_and_the_rest_of_the_file_stays() {
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
    fn data_is_accepted_by_its_own_major_version_only() {
        let data = tempfile::tempdir().unwrap();
        let readable = |made_by: &str, server: &str| {
            fs::write(data.path().join("PG_VERSION"), format!("{made_by}\n")).unwrap();
            check_version(data.path(), server).is_ok()
        };
        assert!(readable("15", "15.18") && readable("17", "17beta1") && readable("9.6", "9.6.24"));
        assert!(!readable("1", "15.18") && !readable("15", "17.2") && !readable("9.6", "9.5.1"));
    }
}
