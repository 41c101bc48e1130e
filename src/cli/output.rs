//! The output of commands.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Standard output. Its reader may close it early (`renderhook check | head -1`). Then nothing more is printed, but the
/// command still does its work.
///
/// Ids and messages come from elsewhere, and a control character could change what a terminal shows: each is replaced.
#[derive(Debug)]
pub(super) struct Output {
    closed: bool,
    /// On a terminal's standard error; otherwise hidden.
    progress: ProgressBar,
}

impl Default for Output {
    fn default() -> Self {
        Self { closed: false, progress: ProgressBar::hidden() }
    }
}

impl Output {
    /// For a command that may take long: on a terminal, it shows how many lines it has printed. `what` names them, such as
    /// `downloads`.
    pub(super) fn counting(what: &'static str) -> Self {
        let progress = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_message(what);
        let style = ProgressStyle::with_template("{spinner} {pos} {msg}, {per_sec}, {elapsed}");
        progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Self { closed: false, progress }
    }

    /// Prints a line, and counts it.
    pub(super) fn line(&mut self, line: impl Display) -> io::Result<()> {
        let progress = self.progress.clone();
        progress.inc(1);
        progress.suspend(|| self.write_to(&mut io::stdout(), line))
    }

    /// Counts something that needs no line.
    pub(super) fn count(&self) {
        self.progress.inc(1);
    }

    /// Prints the last line.
    pub(super) fn finish(&mut self, line: impl Display) -> io::Result<()> {
        self.progress.finish_and_clear();
        self.write_to(&mut io::stdout(), line)
    }

    /// Replaces what a terminal shows. If the output is not a terminal, prints the text after what was printed before.
    pub(super) fn screen(&mut self, text: &str) -> io::Result<()> {
        if io::stdout().is_terminal() && !self.closed {
            // To the top left, and clear everything after it.
            write!(io::stdout(), "\x1b[H\x1b[J")?;
            return self.line(text);
        }
        self.line(format_args!("{text}\n"))
    }

    /// Whether the reader has closed the output.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    fn write_to(&mut self, to: &mut impl Write, line: impl Display) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let line = line.to_string().replace(|char: char| char.is_control() && char != '\n' && char != '\t', "\u{fffd}");
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
        assert_eq!((pipe.1, output.is_closed()), (1, true));
        let mut disk = Failing(ErrorKind::StorageFull, 0);
        assert!(Output::default().write_to(&mut disk, "one").is_err());
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        let mut written = Vec::new();
        Output::default().write_to(&mut written, "clx\u{1b}[2J\r\u{9b}5m\tand\nmore").unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), "clx\u{fffd}[2J\u{fffd}\u{fffd}5m\tand\nmore\n");
    }
}
