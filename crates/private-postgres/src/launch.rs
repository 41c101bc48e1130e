//! How a program of the server is started: as whom, on which folder, and tied to this process.
//!
//! **As whom.** `initdb` and `postgres` refuse root. An ordinary user runs them as itself; root runs them as the owner of the data
//! there is, else as `postgres`, else as `nobody` (read from `/etc/passwd`: a name service would bring a library for two numbers),
//! and gives that user the cluster's folder.
//!
//! **On which folder.** That user may have no way to the folder: below `/root`, mode 0700, for instance. Root therefore opens the
//! folder and hands the descriptor over; `/proc/self/fd/N` leads to it without asking the parents. The data stays where the caller
//! wants it, no parent's mode is touched, and the same way is taken whether the parents are open or not. Where there is no such
//! `/proc` (macOS), the path itself is used, and an unreachable folder fails with the server's own words.
//!
//! **Tied to this process.** A process group of its own keeps a terminal's Ctrl-C away, so that the server outlives its clients'
//! last statements and is stopped in order. On Linux the kernel sends SIGINT, a fast shutdown, when the starting thread ends, even
//! by `kill -9`. What the server itself has forked notices its end by itself.

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

use super::{Error, IoAt as _, LOOK_EVERY};

/// A drop blocks its thread, so it waits less than a stop.
const DROP_WITHIN: Duration = Duration::from_secs(2);

/// What the server may see of our environment: what a program needs to load, and none of our secrets. Any `PG…` variable would
/// also change what it does.
const PASSED_ON: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "TMPDIR", "TZ"];

/// A cluster's folder, ready for the server's programs.
pub(super) struct Launcher {
    /// The folder as this process names it: absolute.
    folder: PathBuf,
    /// `Some` when this process is root.
    other: Option<Other>,
}

struct Other {
    uid: u32,
    gid: u32,
    /// Open on the folder, and closed on exec everywhere but in the programs started here.
    held: Arc<File>,
}

impl Launcher {
    /// `folder` exists and is absolute; `data` is the folder in it whose owner, if it is there, keeps it.
    pub(super) fn new(folder: PathBuf, data: &Path) -> Result<Self, Error> {
        if !geteuid().is_root() {
            return Ok(Self { folder, other: None });
        }
        let owner = fs::metadata(data).ok().map(|data| (data.uid(), data.gid())).filter(|(uid, _)| *uid != 0);
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (uid, gid) = owner
            .or_else(|| account(&passwd, "postgres"))
            .or_else(|| account(&passwd, "nobody"))
            .ok_or(Error::NoAccount)?;
        let held = Arc::new(File::open(&folder).at("open", &folder)?);
        let launcher = Self { folder, other: Some(Other { uid, gid, held }) };
        launcher.give(&launcher.folder)?;
        Ok(launcher)
    }

    /// Makes the server's user the owner of a file or folder that this process has made for it.
    pub(super) fn give(&self, path: &Path) -> Result<(), Error> {
        match &self.other {
            Some(other) => {
                std::os::unix::fs::chown(path, Some(other.uid), Some(other.gid)).at("change the owner of", path)
            }
            None => Ok(()),
        }
    }

    /// A path in the folder, as the programs started here name it.
    pub(super) fn inside(&self, name: &str) -> PathBuf {
        let held = self.other.as_ref().map(|other| PathBuf::from(format!("/proc/self/fd/{}", other.held.as_raw_fd())));
        held.filter(|held| held.exists()).unwrap_or_else(|| self.folder.clone()).join(name)
    }

    /// The command for a program, with what it says going to `log`. It is to be spawned on the thread that outlives the program.
    pub(super) fn command(&self, program: &Path, log: &File) -> Result<Command, Error> {
        let copy = || log.try_clone().map(Stdio::from).at("copy the descriptor of the log in", &self.folder);
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(PASSED_ON.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .env("LC_ALL", "C");
        // `/`, because another user may not be allowed to return to the folder that this process stands in.
        command.current_dir("/").stdin(Stdio::null()).stdout(copy()?).stderr(copy()?);
        command.process_group(0).kill_on_drop(true);
        if let Some(other) = &self.other {
            command.uid(other.uid).gid(other.gid);
        }
        let held = self.other.as_ref().map(|other| Arc::clone(&other.held));
        let parent = getpid();
        // SAFETY: between fork and exec only async-signal-safe calls may be made. `tie` makes three system calls (fcntl, prctl,
        // getppid) by rustix, which neither allocates nor locks; its errors are plain numbers; the captures are dropped in the
        // parent alone, because the child ends by exec or by `_exit`.
        unsafe {
            command.pre_exec(move || tie(held.as_deref(), parent));
        }
        Ok(command)
    }
}

/// A program of the server, started here. Dropping it ends it together with what it has started, and waits for that for up to two
/// seconds, so that its folder can be removed afterwards.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    at_once: Signal,
}

impl Running {
    /// `at_once` is the signal that ends the program without delay.
    pub(super) fn spawn(mut command: Command, program: &Path, at_once: Signal) -> Result<Self, Error> {
        Ok(Self { child: command.spawn().at("run", program)?, at_once })
    }

    /// The process, until it has ended and that was noticed: the number cannot be another's.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()))
    }

    pub(super) fn signal(&self, signal: Signal) {
        // OK to ignore the answer: a process that has just ended is what is wanted.
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
        let _ = kill_process_group(group, self.at_once);
        let deadline = Instant::now() + DROP_WITHIN;
        // What `initdb` has started is not our child: a group without members is the sign that it has ended.
        while matches!(self.child.try_wait(), Ok(None)) || test_kill_process_group(group).is_ok() {
            if Instant::now() >= deadline {
                let _ = kill_process_group(group, Signal::KILL);
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// Runs in the child, after the change of user (which would clear the death signal) and before exec.
fn tie(held: Option<&File>, parent: Pid) -> io::Result<()> {
    if let Some(held) = held {
        fcntl_setfd(held, FdFlags::empty())?;
    }
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::INT))?;
    // A parent that ended before the line above sends no signal any more.
    if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// The user and group ids of a name in the text of `/etc/passwd`.
fn account(passwd: &str, name: &str) -> Option<(u32, u32)> {
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
    fn an_account_is_read_from_its_own_line_and_never_root() {
        let passwd = "root:x:0:0::/:/bin/sh\npostgres-old:x:7:7::/:/bin/sh\n\
                      postgres:x:101:104:,,,:/:/bin/sh\nnobody:x:0:0::/:/bin/sh\n";
        assert_eq!(account(passwd, "postgres"), Some((101, 104)));
        assert_eq!(account(passwd, "nobody"), None);
        assert_eq!(account(passwd, "postgr"), None);
    }
}
