//! The binary for development: see `renderhook-dev --help`.

use std::process::ExitCode;

use clap::Parser as _;
use renderhook_dev::cli::DevCli;

#[tokio::main]
async fn main() -> ExitCode {
    DevCli::parse().run().await
}
