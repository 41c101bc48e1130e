//! The command line.

mod check;
mod completions;
mod database;
mod health;
mod migrate;
mod notify;
mod openapi;
mod output;
mod replay;
mod retry;
mod send;
mod serve;
mod status;
mod table;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::ConfigErrors;

/// Receives Magic Hour's webhooks, records its renders, stores their files, and notifies your application.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the service: receives webhooks, downloads files, and answers API requests; applies migrations first
    Serve(Box<serve::ServeFlags>),
    /// Applies missing migrations and exits
    Migrate(migrate::MigrateFlags),
    /// Checks every setting of `serve` and every dependency, and exits with 0 if nothing fails
    Check(Box<check::CheckFlags>),
    /// Shows on one screen how many renders, downloads and notifications there are, and what is wrong
    Status(status::StatusFlags),
    /// Puts failed downloads back in the queue
    Retry(retry::RetryFlags),
    /// Sends notifications to the application again
    Notify(notify::NotifyFlags),
    /// Reads stored deliveries again that were unreadable or unknown when they arrived
    Replay(replay::ReplayFlags),
    /// Reads stored objects back, and compares their length and SHA-256
    Verify(verify::VerifyFlags),
    /// Signs and posts an event the way Magic Hour does
    Send(Box<send::SendFlags>),
    /// Asks /readyz on this machine and exits with 0 or 1, for images without a shell
    Health(health::HealthFlags),
    /// Prints a script that completes commands and flags in a shell
    Completions(completions::CompletionsFlags),
    /// Prints the `OpenAPI` document of the API
    #[command(name = "openapi")]
    OpenApi,
}

/// The clap command.
#[must_use]
pub fn command() -> clap::Command {
    let command = Cli::command();
    let settings = command.find_subcommand("serve").map(settings).unwrap_or_default();
    // `--help` does not show values of environment variables, because a URL may contain credentials. `check` shows them,
    // without secrets.
    command
        .mut_subcommands(|command| command.mut_args(|flag| flag.hide_env_values(true)))
        .after_help(format!("Settings of `serve`, as environment variables (each is also a flag):\n{settings}"))
}

/// The settings of a command, one per line.
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
    /// Parses the command line. If it is invalid, the process exits with 2.
    #[must_use]
    pub fn read() -> Self {
        Self::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// Runs the command. Returns 0 for success, 2 for invalid flags or settings, and 1 for any other error.
    pub async fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Serve(args) => serve::run(*args).await,
            Command::Migrate(args) => migrate::run(&args).await,
            Command::Check(args) => check::run(*args).await,
            Command::Status(args) => status::run(&args).await,
            Command::Retry(args) => retry::run(args).await,
            Command::Notify(args) => notify::run(args).await,
            Command::Replay(args) => replay::run(args).await,
            Command::Verify(args) => verify::run(args).await,
            Command::Send(args) => send::run(*args).await,
            Command::Health(args) => health::run(&args).await,
            Command::Completions(args) => completions::run(&args),
            Command::OpenApi => openapi::run(),
        };
        let Err(error) = result else { return ExitCode::SUCCESS };
        eprintln!("renderhook: {error:#}");
        let is_settings_error =
            error.is::<ConfigErrors>() || matches!(error.downcast_ref(), Some(check::CheckFailed::Settings));
        ExitCode::from(if is_settings_error { 2 } else { 1 })
    }
}
