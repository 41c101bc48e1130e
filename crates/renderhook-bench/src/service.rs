//! A program that is measured, as a process of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use url::Url;

use crate::cpu;
use crate::environment::release;
use crate::load::{self, Requests};
use crate::workload::{SECRET, TOKEN, get};

/// How long it may take to start.
const START: Duration = Duration::from_mins(1);
/// How often the start is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// A running program that answers.
#[derive(Debug)]
pub(crate) struct ServiceProcess {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From the start of the process to the first good answer of `/readyz`.
    pub(crate) ready_after: Duration,
    child: Child,
}

impl ServiceProcess {
    /// Starts `renderhook serve`, with further settings. Its log goes to a file in `folder`.
    pub(crate) async fn renderhook(
        database_url: &str,
        folder: &Path,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let store = Url::from_file_path(folder).map_err(|()| anyhow!("not a path: {}", folder.display()))?;
        let mut command = Command::new(release("renderhook")?);
        command
            .arg("serve")
            .env_clear()
            .env("DATABASE_URL", database_url)
            .env("MAGIC_HOUR_WEBHOOK_SECRET", SECRET)
            .env("API_TOKENS", TOKEN)
            .env("STORAGE_URL", store.as_str())
            .envs(settings.iter().copied());
        Self::start(command, folder, "/readyz", |port| ("LISTEN_ADDR", format!("127.0.0.1:{port}"))).await
    }

    /// Starts a program that takes its port as `listen` says, and waits until `path` answers.
    pub(crate) async fn start(
        mut command: Command,
        folder: &Path,
        path: &str,
        listen: impl FnOnce(u16) -> (&'static str, String),
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let (name, value) = listen(address.port());
        let log = folder.join("service.log");
        let output = File::create(&log)?;
        command.env(name, value).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
        let begun = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        loop {
            if is_ready(address, path).await {
                return Ok(Self { address, ready_after: begun.elapsed(), child });
            }
            if child.try_wait()?.is_some() || begun.elapsed() > START {
                bail!("it does not start: {}", fs::read_to_string(log)?);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The memory that it has now and has had at most, in MiB.
    pub(crate) fn memory_mib(&self) -> anyhow::Result<(f64, f64)> {
        let pid = self.child.id().context("it has ended")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let mib = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).map(|kib| kib / 1024.0)
        };
        mib("VmRSS:").zip(mib("VmHWM:")).context("the kernel does not say how much memory it has")
    }

    /// The CPU time that it and its children have used.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        Ok(cpu::of_tree(self.child.id().context("it has exited")?))
    }

    /// Stops it in order.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).context("it has ended")?;
        kill_process(pid, Signal::TERM)?;
        self.child.wait().await?;
        Ok(())
    }
}

pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Whether a GET of `path` is answered with 2xx.
async fn is_ready(address: SocketAddr, path: &str) -> bool {
    let measured = load::run(address, Requests::once(vec![get(path)]), 1, Duration::from_secs(5)).await;
    measured.is_ok_and(|measured| measured.refused == 0)
}
