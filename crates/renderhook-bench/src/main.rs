//! Measures renderhook's release build on this machine, each figure beside what bounds it: `scripts/bench`.
//!
//! A figure and its floor are measured in alternating runs, because only their ratio says something about another machine.
//! Tables are printed as Markdown, for `docs/performance.md`.

mod backlog;
mod cpu;
mod durable_write;
mod environment;
mod file_server;
mod guide;
mod held;
mod load;
mod pairs;
mod pgbench;
mod plans;
mod receiver;
mod s3;
mod service;
mod suite;
mod table;
mod workload;

use clap::Parser;

use self::environment::Environment;
use self::suite::{Options, Suite};

/// Measures renderhook's release build.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench", about = None)]
struct BenchFlags {
    /// What to measure. By default everything but `growth` and `explain`.
    suites: Vec<Suite>,
    #[command(flatten)]
    options: Options,
}

// Postgres ends with the thread that starts it, which has to be the main one.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let BenchFlags { suites, options } = BenchFlags::parse();
    let environment = Environment::start().await?;
    println!("{}", environment.machine()?);
    let suites = if suites.is_empty() { Suite::DEFAULT.to_vec() } else { suites };
    let mut measured = Ok(());
    for suite in suites {
        measured = suite.run(&environment, &options).await;
        if measured.is_err() {
            break;
        }
    }
    environment.stop().await?;
    measured
}
