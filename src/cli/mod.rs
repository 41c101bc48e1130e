//! The commands of the one binary.

mod check;
mod health;
mod migrate;
mod openapi;
mod output;
mod replay;
mod retry;
mod rows;
mod send;
mod serve;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::ConfigErrors;

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
    /// Applies the migrations and exits
    Migrate(migrate::Args),
    /// Checks every setting of `serve` and every dependency, and exits with 0 if all is well
    Check(Box<check::Args>),
    /// Puts failed downloads back in the queue
    Retry(retry::Args),
    /// Reads stored deliveries again that could not be parsed, or were unknown, when they arrived
    Replay(replay::Args),
    /// Signs and posts an event as Magic Hour does
    Send(Box<send::Args>),
    /// Asks this machine's own /readyz and exits with 0 or 1, for images without a shell
    Health(health::Args),
    /// Prints the `OpenAPI` document of what `serve` answers
    #[command(name = "openapi")]
    OpenApi,
}

/// The command line as clap knows it.
#[must_use]
pub fn command() -> clap::Command {
    let command = Cli::command();
    let settings = command.find_subcommand("serve").map(settings).unwrap_or_default();
    // Values are shown by `check`, without secrets. Help shows none: a URL may hold a credential.
    command
        .mut_subcommands(|command| command.mut_args(|flag| flag.hide_env_values(true)))
        .after_help(format!("Settings of `serve`, as environment variables (each is a flag, too):\n{settings}"))
}

/// The settings of a command, a line each.
fn settings(command: &clap::Command) -> String {
    let lines = command.get_arguments().filter_map(|flag| {
        let (name, help) = (flag.get_env()?.to_string_lossy(), flag.get_help()?.to_string());
        let defaults: Vec<_> = flag.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if defaults.is_empty() { String::new() } else { format!(" [default: {}]", defaults.join(",")) };
        Some(format!("  {name:<30} {help}{default}"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl Cli {
    /// Reads the command line; ends the process with 2 where it cannot be read.
    #[must_use]
    pub fn read() -> Self {
        Self::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// Runs the command. 0 is success, 2 a mistake in flags or settings, 1 everything else.
    pub async fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Serve(args) => serve::run(*args).await,
            Command::Migrate(args) => migrate::run(&args).await,
            Command::Check(args) => check::run(*args).await,
            Command::Retry(args) => retry::run(args).await,
            Command::Replay(args) => replay::run(args).await,
            Command::Send(args) => send::run(*args).await,
            Command::Health(args) => health::run(&args).await,
            Command::OpenApi => openapi::run(),
        };
        let Err(error) = done else { return ExitCode::SUCCESS };
        eprintln!("renderhook: {error:#}");
        let settings = error.is::<ConfigErrors>() || matches!(error.downcast_ref(), Some(check::CheckFailed::Settings));
        ExitCode::from(if settings { 2 } else { 1 })
    }
}
