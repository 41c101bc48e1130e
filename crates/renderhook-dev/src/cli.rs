//! The commands of the development binary.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::demo;

/// For developing renderhook: the demo.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tells the whole story on this machine with nothing set up, and stays up for a look
    Demo(demo::Args),
}

impl Cli {
    /// Runs the command: 0 is success, 1 is failure. clap itself ends the process with 2 for wrong flags.
    pub async fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Demo(args) => demo::run(args).await,
        };
        let Err(error) = done else { return ExitCode::SUCCESS };
        eprintln!("renderhook-dev: {error:#}");
        ExitCode::FAILURE
    }
}
