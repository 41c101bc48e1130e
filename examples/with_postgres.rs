//! Runs a command with a database: `cargo run --example with_postgres -- COMMAND ARGS…`
//!
//! The command finds a Postgres of its own in `DATABASE_URL`, thrown away afterwards. Its exit code is passed on (128 and the
//! signal's number if a signal ended it). SIGINT and SIGTERM end the command, then the server.

use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Context as _;
use private_postgres::{Cluster, Durability};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut words = env::args_os().skip(1);
    let program = words.next().context("which command? usage: with_postgres COMMAND ARGS…")?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut stopped = Box::pin(async move {
        tokio::select! { _ = interrupt.recv() => 130, _ = terminate.recv() => 143 }
    });

    let folder = tempfile::tempdir()?;
    let cluster = tokio::select! {
        cluster = Cluster::start(folder.path(), Durability::Thrown) => cluster?,
        code = &mut stopped => return Ok(ExitCode::from(code)),
    };
    let url = cluster.url("postgres");
    let child = Command::new(&program).args(words).env("DATABASE_URL", url).kill_on_drop(true).spawn();
    let code = match child {
        Ok(mut child) => tokio::select! {
            status = child.wait() => code_of(status?),
            code = &mut stopped => { end(&mut child).await; code }
        },
        Err(error) => {
            eprintln!("cannot run {}: {error}", program.display());
            127
        }
    };
    cluster.stop().await?;
    Ok(ExitCode::from(code))
}

fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// A terminal's Ctrl-C has reached the command already; a signal to this process alone has not. One that stays is killed on drop.
async fn end(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let _ = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;
}
