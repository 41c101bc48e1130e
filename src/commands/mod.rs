//! The commands of the one binary.

#[cfg(unix)]
mod demo;
mod health;
mod migrate;
mod retry;
mod send;
mod serve;
mod signals;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::Mistakes;

/// The webhook receiver for Magic Hour: verifies, records, archives and answers for every render.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs everything: the receiver, the downloader and the answers; applies migrations first
    Serve(Box<serve::Args>),
    /// Shows the whole story on this machine with nothing set up, and stays up for a look
    #[cfg(unix)]
    Demo(demo::Args),
    /// Applies the migrations and exits
    Migrate(migrate::Args),
    /// Puts failed downloads back in the queue
    Retry(retry::Args),
    /// Signs and posts an event as Magic Hour does
    Send(Box<send::Args>),
    /// Asks this machine's own /readyz and exits with 0 or 1, for images without a shell
    Health(health::Args),
}

/// The command line as clap knows it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

impl Cli {
    /// Runs the command. 0 is success, 2 a mistake in flags or settings, 1 everything else.
    pub async fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Serve(args) => serve::run(*args).await,
            #[cfg(unix)]
            Command::Demo(args) => demo::run(args).await,
            Command::Migrate(args) => migrate::run(&args).await,
            Command::Retry(args) => retry::run(args).await,
            Command::Send(args) => send::run(*args).await,
            Command::Health(args) => health::run(&args).await,
        };
        let Err(error) = done else { return ExitCode::SUCCESS };
        eprintln!("renderhook: {error:#}");
        ExitCode::from(if error.is::<Mistakes>() { 2 } else { 1 })
    }
}
