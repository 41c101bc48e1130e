//! The binary: see `renderhook --help`, or the library's documentation for how it works.

use std::process::ExitCode;

use renderhook::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    Cli::read().run().await
}
