//! Starts a program of the server: the user it runs as, how it reaches its folder, and what ends it.
//!
//! **User.** `initdb` and `postgres` refuse to run as root. An ordinary user runs them as itself. Root runs them as the
//! owner of existing data, or else as `postgres` or `nobody`, and gives that user the cluster's folder. Ids are read from
//! `/etc/passwd`; a library for name services would be too much for two numbers.
//!
//! **Folder.** That user may be unable to enter the folder's parents, such as `/root`. So root opens the folder and
//! passes the descriptor on: `/proc/self/fd/N` reaches the folder without its parents, and no parent's mode is changed.
//! Without such a `/proc` (macOS) the path itself is used.
//!
//! **End.** The server has its own process group, so a terminal's Ctrl-C does not reach it, and it is stopped after its
//! clients. On Linux the kernel sends it SIGINT, a fast shutdown, when the thread that started it ends, even by
//! `kill -9`. The server's own processes notice its end by themselves.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, Signal, geteuid, getpid, getppid, kill_process, kill_process_group, test_kill_process_group,
};
use tokio::process::{Child, Command};

use super::{Error, IoAt as _, POLL_INTERVAL};

/// Shorter than for a stop, because a drop blocks its thread.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// The environment variables that the server gets: what a program needs to load, and no secrets. A `PG…` variable would
/// change what the server does.
const ENVIRONMENT: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "TMPDIR", "TZ"];

/// Starts programs on a cluster's folder.
pub(super) struct Launcher {
    /// The absolute path.
    folder: PathBuf,
    /// The user to run as, if this process is root.
    user: Option<User>,
}

struct User {
    uid: u32,
    gid: u32,
    /// The open folder, which only the programs started here inherit.
    open_folder: Arc<File>,
}

impl Launcher {
    /// `folder` exists and is absolute. The owner of `data`, if it exists, stays the same.
    pub(super) fn new(folder: PathBuf, data: &Path) -> Result<Self, Error> {
        if !geteuid().is_root() {
            return Ok(Self { folder, user: None });
        }
        let owner = fs::metadata(data).ok().map(|data| (data.uid(), data.gid())).filter(|(uid, _)| *uid != 0);
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (uid, gid) = owner
            .or_else(|| user_ids(&passwd, "postgres"))
            .or_else(|| user_ids(&passwd, "nobody"))
            .ok_or(Error::NoUser)?;
        let open_folder = Arc::new(File::open(&folder).at("open", &folder)?);
        let launcher = Self { folder, user: Some(User { uid, gid, open_folder }) };
        launcher.chown(&launcher.folder)?;
        Ok(launcher)
    }

    /// Makes the server's user the owner of a file or folder.
    pub(super) fn chown(&self, path: &Path) -> Result<(), Error> {
        match &self.user {
            Some(user) => {
                std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)).at("change the owner of", path)
            }
            None => Ok(()),
        }
    }

    /// A path in the folder that the programs can reach.
    pub(super) fn inside(&self, name: &str) -> PathBuf {
        let by_fd = |user: &User| PathBuf::from(format!("/proc/self/fd/{}", user.open_folder.as_raw_fd()));
        self.user.as_ref().map(by_fd).filter(|folder| folder.exists()).unwrap_or_else(|| self.folder.clone()).join(name)
    }

    /// The command for a program that writes to `log`. Spawn it on a thread that outlives the program.
    pub(super) fn command(&self, program: &Path, log: &File) -> Result<Command, Error> {
        let copy = || log.try_clone().map(Stdio::from).at("copy the descriptor of the log in", &self.folder);
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .env("LC_ALL", "C");
        // `/`, because another user may be unable to enter this process's working directory.
        command.current_dir("/").stdin(Stdio::null()).stdout(copy()?).stderr(copy()?);
        command.process_group(0).kill_on_drop(true);
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        let open_folder = self.user.as_ref().map(|user| Arc::clone(&user.open_folder));
        let parent = getpid();
        // SAFETY: between fork and exec only async-signal-safe calls are allowed. `prepare_child` makes three system calls
        // (fcntl, prctl, getppid) through rustix, which neither allocates nor locks. Its errors are plain numbers. The
        // captures are dropped in the parent only, because the child ends by exec or `_exit`.
        unsafe {
            command.pre_exec(move || prepare_child(open_folder.as_deref(), parent));
        }
        Ok(command)
    }
}

/// A running program of the server. Dropping it ends it and its child processes, and waits up to two seconds for that,
/// so that its folder can be removed afterwards.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    drop_signal: Signal,
}

impl Running {
    /// `drop_signal` ends the program immediately.
    pub(super) fn spawn(mut command: Command, program: &Path, drop_signal: Signal) -> Result<Self, Error> {
        Ok(Self { child: command.spawn().at("run", program)?, drop_signal })
    }

    /// The process id; `None` once the process was waited for, because another process may have the number by then.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()))
    }

    pub(super) fn signal(&self, signal: Signal) {
        // An error means that the process has ended already.
        let _ = self.pid().map(|pid| kill_process(pid, signal));
    }

    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(group) = self.pid() else { return };
        let _ = kill_process_group(group, self.drop_signal);
        let deadline = Instant::now() + DROP_TIMEOUT;
        // Child processes of `initdb` are not ours to wait for: they have ended when the group has no members.
        while matches!(self.child.try_wait(), Ok(None)) || test_kill_process_group(group).is_ok() {
            if Instant::now() >= deadline {
                let _ = kill_process_group(group, Signal::KILL);
                return;
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Runs in the child before exec, and after the change of user, which would clear the death signal.
fn prepare_child(open_folder: Option<&File>, parent: Pid) -> io::Result<()> {
    if let Some(open_folder) = open_folder {
        fcntl_setfd(open_folder, FdFlags::empty())?;
    }
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::INT))?;
    // A parent that ended before the line above causes no signal.
    if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// The user and group ids of a user in the text of `/etc/passwd`; never root's.
fn user_ids(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = passwd
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
    let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    (uid != 0).then_some((uid, gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_are_read_from_the_exact_name_and_never_roots() {
        let passwd = "root:x:0:0::/:/bin/sh\npostgres-old:x:7:7::/:/bin/sh\n\
                      postgres:x:101:104:,,,:/:/bin/sh\nnobody:x:0:0::/:/bin/sh\n";
        assert_eq!(user_ids(passwd, "postgres"), Some((101, 104)));
        assert_eq!(user_ids(passwd, "nobody"), None);
        assert_eq!(user_ids(passwd, "postgr"), None);
    }
}
