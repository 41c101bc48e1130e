//! The output of commands.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Standard output. Its reader may close it early (`renderhook check | head -1`). Then nothing more is printed, but the
/// command still does its work.
#[derive(Debug, Default)]
pub(super) struct Output {
    closed: bool,
}

impl Output {
    /// Prints a line.
    pub(super) fn line(&mut self, line: impl Display) -> io::Result<()> {
        self.write_to(&mut io::stdout(), line)
    }

    fn write_to(&mut self, to: &mut impl Write, line: impl Display) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        match writeln!(to, "{line}").and_then(|()| to.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            written => written,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer that always fails, and how often it was called.
    struct Failing(ErrorKind, usize);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn after_the_pipe_is_closed_nothing_more_is_written_and_there_is_no_error() {
        let (mut output, mut pipe) = (Output::default(), Failing(ErrorKind::BrokenPipe, 0));
        assert!(output.write_to(&mut pipe, "one").is_ok());
        assert!(output.write_to(&mut pipe, "two").is_ok());
        assert_eq!(pipe.1, 1);
        let mut disk = Failing(ErrorKind::StorageFull, 0);
        assert!(Output::default().write_to(&mut disk, "one").is_err());
    }
}
