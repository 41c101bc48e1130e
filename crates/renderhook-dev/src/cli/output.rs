//! Lines on standard output.
//!
//! Printing to a pipe whose reader is gone (`scripts/demo | head -1`) is an error like any other, not a panic: the
//! command stops everything it has started, and then exits with 0, because nothing failed.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Prints a line.
pub(super) fn print_line(line: impl Display) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Prints what `speaker` did.
pub(super) fn say(speaker: &str, what: impl Display) -> io::Result<()> {
    print_line(format_args!("{speaker:>11}  {what}"))
}

/// Whether `error` means that nobody reads the output any longer.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let is_closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(is_closed)
}
