//! A private Postgres server, run from the system's own programs.
//!
//! A caller names a folder, and gets a running server and its URL. Nothing is set up beforehand or downloaded.
//!
//! - **Private.** The server listens on no network address, only on a socket in a folder of mode 0700. Only that folder's
//!   owner can connect, so trust authentication is safe.
//! - **In the folder.** Data (`data/`), socket (`socket/`) and log (`server.log`) are in the caller's folder. Only if the
//!   path is too long for a socket (about 100 bytes) is the socket in a folder of its own in `/tmp`, which is deleted with
//!   it.
//! - **One server per folder.** The server holds a lock on its log as long as any of its processes runs. A second start
//!   fails. A start after a crash waits a moment for the old server to end, then recovers.
//! - **All or nothing.** `initdb` works in `data.new/`, which is renamed at the end: an interrupted first start leaves no
//!   incomplete data.
//! - **Nothing is left running.** [`Cluster::stop`] shuts the server down. Dropping a `Cluster` ends it immediately. On
//!   Linux it also ends with a killed program (see [`Cluster::start`] for a condition); elsewhere the next start reports
//!   the server that is still running.
//!
//! As root, the server runs as `postgres` or `nobody`, who becomes the owner of the cluster's folder. That user need not
//! be able to enter the folder's parents; `launch` explains how.

mod binaries;
mod error;
mod folder;
mod launch;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{interval, timeout};

use self::binaries::Binaries;
pub use self::error::Error;
use self::error::IoAt;
use self::folder::Log;
use self::launch::{Launcher, Running};

/// Part of the socket's file name; no network port is opened. The URL has it, because clients would use `PGPORT` otherwise.
const PORT: u16 = 5432;
/// A start may include crash recovery.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// A fast shutdown writes a checkpoint.
const FAST_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);
const IMMEDIATE_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Whether commits survive a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// They do, as in production.
    Durable,
    /// They do not: faster, for data that is deleted after use. Allows 200 connections, for tests.
    Temporary,
}

/// A running server. Stop it with [`stop`](Self::stop). Dropping it also ends the server, but without a checkpoint, so the
/// next start has to recover, and blocks the thread for up to two seconds.
#[derive(Debug)]
pub struct Cluster {
    server: Running,
    socket: TempDir,
    version: String,
}

impl Cluster {
    /// Starts the server of the cluster in `folder`, after creating the folder and the cluster if they do not exist. On return
    /// the server accepts connections.
    ///
    /// **Await this on the main thread**: in `#[tokio::main]` itself, not in a spawned task or `spawn_blocking`. On Linux the
    /// server ends with the thread that started it, so that it ends even if the program is killed with `kill -9`. Only the
    /// main thread is sure to live as long as the program.
    ///
    /// Cancel safe: canceling ends what was started.
    pub async fn start(folder: &Path, durability: Durability) -> Result<Self, Error> {
        let binaries = Binaries::find()?;
        fs::create_dir_all(folder).at("create the folder", folder)?;
        let folder = fs::canonicalize(folder).at("find", folder)?;
        let data = folder.join("data");
        let launcher = Launcher::new(folder.clone(), &data)?;

        let log = Log::lock(&folder, &data).await?;
        launcher.chown(&log.path)?;
        let version = version(&binaries).await?;
        if data.exists() {
            folder::check_version(&data, &version)?;
        } else {
            folder::initdb(&binaries, &launcher, &log, &folder, durability).await?;
        }
        folder::forget_reused_pid(&data)?;
        let (socket, server_socket) = folder::make_socket_folder(&folder)?;
        launcher.chown(socket.path())?;

        let mut command = launcher.command(&binaries.postgres(), &log.file)?;
        command.arg("-D").arg(launcher.inside("data")).args(settings(durability));
        command.arg("-c").arg(setting("unix_socket_directories", &server_socket));
        // SIGQUIT, because a server killed with SIGKILL leaves its shared memory behind.
        let server = Running::spawn(command, &binaries.postgres(), Signal::QUIT)?;
        let mut cluster = Self { server, socket, version };
        cluster.wait_until_ready(&data, &log).await?;
        Ok(cluster)
    }

    /// The URL of a database, for the superuser and without a password. A new cluster has the database `postgres`.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let database = utf8_percent_encode(database, NON_ALPHANUMERIC);
        let socket = percent_encode(self.socket.path().as_os_str().as_bytes(), NON_ALPHANUMERIC);
        format!("postgres://postgres@localhost:{PORT}/{database}?host={socket}")
    }

    /// The server's version, such as `15.18`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Shuts the server down: it closes its connections and writes a checkpoint (SIGINT). A server that takes longer than
    /// 20 s is shut down immediately (SIGQUIT), and killed 5 s later; the next start then recovers all commits. On return
    /// no process and no socket is left.
    pub async fn stop(mut self) -> Result<(), Error> {
        for (signal, limit) in [(Signal::INT, FAST_SHUTDOWN_TIMEOUT), (Signal::QUIT, IMMEDIATE_SHUTDOWN_TIMEOUT)] {
            self.server.signal(signal);
            if let Ok(ended) = timeout(limit, self.server.wait()).await {
                return ended.map(drop).at("wait for the server of", self.socket.path());
            }
        }
        self.server.signal(Signal::KILL);
        self.server.wait().await.map(drop).at("wait for the server of", self.socket.path())
    }

    /// Waits until `postmaster.pid` says that the server is ready, as `pg_ctl` does. Connecting would not prove it: the socket
    /// answers before recovery has ended.
    async fn wait_until_ready(&mut self, data: &Path, log: &Log) -> Result<(), Error> {
        let pid = self.server.pid().map(|pid| pid.as_raw_nonzero().to_string());
        let mut poll = interval(POLL_INTERVAL);
        let ready = async {
            loop {
                poll.tick().await;
                if let Some(status) = self.server.try_wait().at("wait for the server of", data)? {
                    return Err(log.ended("postgres", status));
                }
                // Lines: pid, folder, start time, port, socket folder, address, shared memory, state.
                let file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
                let mut lines = file.lines().map(str::trim);
                if lines.next() == pid.as_deref() && lines.nth(6) == Some("ready") {
                    return Ok(());
                }
            }
        };
        timeout(START_TIMEOUT, ready)
            .await
            .unwrap_or_else(|_| Err(Error::NotReady { log: log.path.clone(), tail: log.tail() }))
    }
}

/// Settings on the command line, which override those in the folder.
fn settings(durability: Durability) -> Vec<OsString> {
    let common = ["listen_addresses=".to_owned(), format!("port={PORT}"), "unix_socket_permissions=0700".to_owned()];
    let temporary = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200"];
    let temporary = temporary.into_iter().filter(|_| durability == Durability::Temporary).map(str::to_owned);
    common.into_iter().chain(temporary).flat_map(|pair| ["-c".into(), pair.into()]).collect()
}

fn setting(name: &str, value: &Path) -> OsString {
    let mut pair = OsString::from(name);
    pair.push("=");
    pair.push(value);
    pair
}

async fn version(binaries: &Binaries) -> Result<String, Error> {
    let program = binaries.postgres();
    let output = Command::new(&program).arg("--version").kill_on_drop(true).output().await.at("run", &program)?;
    // `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
    let text = String::from_utf8_lossy(&output.stdout);
    let version =
        text.split_whitespace().nth(2).ok_or(io::ErrorKind::InvalidData).at("read the version of", &program)?;
    Ok(version.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;
    use std::process::Stdio;

    use rustix::process::{Pid, kill_process, test_kill_process};

    use super::*;

    /// A folder for a cluster whose parent only this user can enter.
    fn new_folder() -> (TempDir, PathBuf) {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("cluster");
        (parent, folder)
    }

    async fn query(cluster: &Cluster, statement: &str) -> String {
        let beside = Binaries::find().unwrap().postgres().with_file_name("psql");
        let psql = if beside.exists() { beside } else { PathBuf::from("psql") };
        let mut command = Command::new(psql);
        command.args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &cluster.url("postgres"),
            "-c",
            statement,
        ]);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn pid(cluster: &Cluster) -> Pid {
        cluster.server.pid().unwrap()
    }

    async fn until(mut holds: impl FnMut() -> bool) {
        let mut poll = interval(POLL_INTERVAL);
        let wait = async {
            while !holds() {
                poll.tick().await;
            }
        };
        timeout(Duration::from_secs(20), wait).await.expect("the condition holds in time");
    }

    #[tokio::test]
    async fn a_started_server_answers_only_on_its_socket_and_a_stop_leaves_nothing() {
        let (_parent, folder) = new_folder();
        let cluster = Cluster::start(&folder, Durability::Temporary).await.unwrap();
        let (server, socket) = (pid(&cluster), cluster.socket.path().to_path_buf());
        UnixStream::connect(socket.join(".s.PGSQL.5432")).unwrap();
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o700);
        let settings = "SELECT concat_ws(' ', current_setting('listen_addresses') = '', current_setting('fsync'), \
                        current_setting('max_connections'), current_setting('server_encoding'), current_setting('lc_messages'), \
                        split_part(current_setting('server_version'), ' ', 1))";
        assert_eq!(query(&cluster, settings).await, format!("t off 200 UTF8 C {}", cluster.version()));
        cluster.stop().await.unwrap();
        assert!(test_kill_process(server).is_err());
        assert!(!socket.exists());
    }

    #[tokio::test]
    async fn a_durable_cluster_has_its_data_after_a_restart() {
        let (_parent, folder) = new_folder();
        let cluster = Cluster::start(&folder, Durability::Durable).await.unwrap();
        assert_eq!(query(&cluster, "CREATE TABLE saved AS SELECT 7 AS n; SHOW fsync").await, "on");
        cluster.stop().await.unwrap();
        let cluster = Cluster::start(&folder, Durability::Durable).await.unwrap();
        assert_eq!(query(&cluster, "SELECT n FROM saved").await, "7");
        cluster.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_second_start_on_a_running_folder_fails_and_does_no_harm() {
        let (_parent, folder) = new_folder();
        let cluster = Cluster::start(&folder, Durability::Temporary).await.unwrap();
        let error = Cluster::start(&folder, Durability::Temporary).await.unwrap_err();
        assert!(
            matches!(&error, Error::InUse { pid: Some(number), .. } if *number == pid(&cluster).as_raw_nonzero().get()),
            "{error}"
        );
        assert_eq!(query(&cluster, "SELECT 1").await, "1");
        cluster.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_server_starts_after_a_kill_even_if_another_process_has_its_pid() {
        let (_parent, folder) = new_folder();
        let pid_file = folder.join("data/postmaster.pid");
        let cluster = Cluster::start(&folder, Durability::Durable).await.unwrap();
        query(&cluster, "CREATE TABLE saved AS SELECT 7 AS n").await;
        kill_process(pid(&cluster), Signal::KILL).unwrap();
        drop(cluster);
        let left = fs::read_to_string(&pid_file).unwrap();

        let cluster = Cluster::start(&folder, Durability::Durable).await.unwrap();
        assert_eq!(query(&cluster, "SELECT n FROM saved").await, "7");
        cluster.stop().await.unwrap();

        // Not an ancestor of the server: Postgres treats the numbers of its ancestors as stale by itself.
        let other = Command::new("cat").stdin(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let (_, rest) = left.split_once('\n').unwrap();
        fs::write(&pid_file, format!("{}\n{rest}", other.id().unwrap())).unwrap();
        Cluster::start(&folder, Durability::Durable).await.unwrap().stop().await.unwrap();
    }

    #[tokio::test]
    async fn an_interrupted_first_start_is_repeated() {
        let (_parent, folder) = new_folder();
        fs::create_dir_all(folder.join("data.new/base")).unwrap();
        fs::write(folder.join("data.new/PG_VERSION"), "").unwrap();
        Cluster::start(&folder, Durability::Temporary).await.unwrap().stop().await.unwrap();
        assert!(!folder.join("data.new").exists());
    }

    #[tokio::test]
    async fn a_canceled_start_leaves_nothing_that_writes_into_the_folder() {
        let (parent, folder) = new_folder();
        let mut start = Box::pin(Cluster::start(&folder, Durability::Durable));
        tokio::select! {
            _ = &mut start => panic!("initdb is at work first"),
            () = until(|| folder.join("data.new/base").exists()) => {}
        }
        drop(start);
        parent.close().unwrap();
    }

    #[tokio::test]
    async fn a_folder_with_a_long_and_odd_path_has_its_socket_in_a_temporary_folder() {
        let (parent, _) = new_folder();
        let folder = parent.path().join(format!("a, \"b\" 'c' %d é {}", "x".repeat(90)));
        let cluster = Cluster::start(&folder, Durability::Temporary).await.unwrap();
        let socket = cluster.socket.path().to_path_buf();
        assert!(!socket.starts_with(&folder));
        assert_eq!(query(&cluster, "SELECT 1").await, "1");
        cluster.stop().await.unwrap();
        assert!(!socket.exists());
    }

    #[tokio::test]
    async fn a_dropped_cluster_leaves_no_process_and_no_socket() {
        let (_parent, folder) = new_folder();
        let cluster = Cluster::start(&folder, Durability::Temporary).await.unwrap();
        let (server, socket) = (pid(&cluster), cluster.socket.path().to_path_buf());
        drop(cluster);
        assert!(test_kill_process(server).is_err());
        assert!(!socket.exists());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_server_ends_with_the_thread_that_started_it() {
        let (_parent, folder) = new_folder();
        let start = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let cluster = runtime.block_on(Cluster::start(&folder, Durability::Temporary)).unwrap();
            assert!(test_kill_process(pid(&cluster)).is_ok());
            cluster
        };
        let mut cluster = std::thread::spawn(start).join().unwrap();
        until(|| cluster.server.try_wait().unwrap().is_some()).await;
    }

    #[tokio::test]
    async fn a_failed_start_shows_the_end_of_the_log() {
        let (_parent, folder) = new_folder();
        Cluster::start(&folder, Durability::Temporary).await.unwrap().stop().await.unwrap();
        fs::write(folder.join("data/postgresql.auto.conf"), "no_such_setting = 1\n").unwrap();
        fs::set_permissions(folder.join("data/postgresql.auto.conf"), Permissions::from_mode(0o644)).unwrap();
        let error = Cluster::start(&folder, Durability::Temporary).await.unwrap_err().to_string();
        assert!(error.contains("no_such_setting") && error.contains("server.log"), "{error}");
    }

    #[tokio::test]
    async fn data_of_another_major_version_is_an_error_with_both_versions() {
        let (_parent, folder) = new_folder();
        Cluster::start(&folder, Durability::Temporary).await.unwrap().stop().await.unwrap();
        fs::write(folder.join("data/PG_VERSION"), "1\n").unwrap();
        let error = Cluster::start(&folder, Durability::Temporary).await.unwrap_err();
        assert!(matches!(&error, Error::OtherVersion { data, .. } if data == "1"), "{error}");
    }
}
