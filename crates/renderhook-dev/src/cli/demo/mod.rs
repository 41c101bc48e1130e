//! The demo: what renderhook does, on one machine and with nothing set up.
//!
//! It runs a private Postgres, a folder as the store, a stand-in for Magic Hour, and the service exactly as `serve` runs
//! it. Everything is kept in one folder, so a second demo finds the renders of the first. However the demo ends, nothing
//! is left running.

mod environment;
mod walkthrough;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use private_postgres::{Cluster, Durability};
use renderhook::runtime::{LogFormat, start_log, stop_signal};

use self::environment::DemoServices;
use super::output::{print_line, say};

/// Flags of `demo`.
#[derive(Debug, clap::Args)]
pub(super) struct DemoFlags {
    /// Exits after the first renders are stored and checked: with 0 if everything went as expected
    #[arg(long)]
    once: bool,
    /// The folder for the database, the files and the log
    #[arg(long, value_name = "FOLDER", default_value = ".renderhook")]
    folder: PathBuf,
    /// The port to listen on; if it is taken, a free one is used
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

pub(super) async fn run(args: DemoFlags) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.folder).with_context(|| format!("cannot create {}", args.folder.display()))?;
    let folder = args.folder.canonicalize()?;
    let log = File::options().create(true).append(true).open(folder.join("service.log"))?;
    start_log(LogFormat::Json, Arc::new(log));
    // Before anything is started that must be stopped again.
    let mut stop = pin!(stop_signal());
    // The server ends with the thread that started it, so it is started here, on the main thread.
    let cluster = tokio::select! {
        cluster = start_postgres(&folder) => cluster?,
        _ = &mut stop => return Ok(()),
    };
    let result = with_postgres(&args, &folder, &cluster, &mut stop).await;
    let stopped = cluster.stop().await.context("cannot stop Postgres");
    result.and(stopped)?;
    print_line(format_args!("Everything is stopped. The database, the files and the log are in {}", folder.display()))?;
    Ok(())
}

async fn start_postgres(folder: &Path) -> anyhow::Result<Cluster> {
    let folder = folder.join("postgres");
    Ok(Cluster::start(&folder, Durability::Durable).await?)
}

async fn with_postgres(
    args: &DemoFlags,
    folder: &Path,
    cluster: &Cluster,
    stop: &mut (impl Future<Output = std::io::Result<()>> + Unpin),
) -> anyhow::Result<()> {
    let place = folder.join("postgres");
    say(
        "postgres",
        format_args!("version {} runs from {}, on a socket of its own", cluster.version(), place.display()),
    )?;
    let environment = DemoServices::start(folder, cluster, args.port).await?;
    let demo = async {
        walkthrough::run(&environment).await?;
        if args.once {
            return Ok(());
        }
        walkthrough::print_next_steps(&environment)?;
        std::future::pending().await
    };
    let result = tokio::select! {
        result = demo => result,
        _ = stop => if args.once { Err(anyhow!("stopped before the demo had finished")) } else { Ok(()) },
    };
    let stopped = environment.stop().await;
    result.and(stopped)
}
