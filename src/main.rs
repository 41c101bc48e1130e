//! The binary: see `renderhook --help`, or the library's documentation for how it works.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use renderhook::cli::Cli;

// Requests and rows are many small allocations. With the C library's allocator, a fifth of the CPU time goes there.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    Cli::read().run().await
}
