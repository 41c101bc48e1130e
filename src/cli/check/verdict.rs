//! A line of what `check` found.

use std::fmt;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it has to be.
    Ok,
    /// It works, and someone should know.
    Warn,
    /// It has to be seen to.
    Fail,
    /// It cannot be looked at for another's sake.
    Skip,
}

/// A setting or a neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) verdict: Verdict,
    name: String,
    text: String,
}

impl Line {
    pub(super) fn new(verdict: Verdict, name: &str, text: impl AsRef<str>) -> Self {
        // What others say may have line breaks.
        let text = text.as_ref().split_whitespace().collect::<Vec<_>>().join(" ");
        Self { verdict, name: name.to_owned(), text }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
            Verdict::Skip => "skip",
        };
        write!(f, "{verdict:<5} {:<30} {}", self.name, self.text)
    }
}
