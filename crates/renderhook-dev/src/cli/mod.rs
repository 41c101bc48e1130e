//! The commands of the development binary, one module each.

mod demo;
mod output;
mod standin;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// For developing renderhook: a demo, and a stand-in for Magic Hour
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 110)]
pub struct DevCli {
    #[command(subcommand)]
    command: DevCommand,
}

#[derive(Debug, Subcommand)]
enum DevCommand {
    /// Shows what renderhook does, on this machine and with nothing set up, and keeps running
    Demo(demo::DemoFlags),
    /// Runs a stand-in for Magic Hour: its API, its files and its webhooks, which cost no credits
    Standin(Box<standin::StandInFlags>),
}

impl DevCli {
    /// Runs the command: 0 is success, 1 is failure. clap ends the process with 2 for wrong flags.
    pub async fn run(self) -> ExitCode {
        let result = match self.command {
            DevCommand::Demo(args) => demo::run(args).await,
            DevCommand::Standin(args) => standin::run(*args).await,
        };
        match result {
            Err(error) if !output::is_closed_pipe(&error) => {
                eprintln!("renderhook-dev: {error:#}");
                ExitCode::FAILURE
            }
            Ok(()) | Err(_) => ExitCode::SUCCESS,
        }
    }
}
