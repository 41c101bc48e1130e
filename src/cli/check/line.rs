//! One line of what `check` found.

use std::fmt;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but someone should know.
    Warn,
    /// It has to be fixed.
    Fail,
    /// It could not be checked, because of something else.
    Skip,
}

/// A verdict and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) text: String,
}

impl Finding {
    pub(super) fn ok(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, text: text.into() }
    }

    pub(super) fn warn(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, text: text.into() }
    }

    pub(super) fn fail(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, text: text.into() }
    }

    pub(super) fn skip(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skip, text: text.into() }
    }

    /// It could not be checked, because `setting` is invalid.
    pub(super) fn invalid(setting: &str) -> Self {
        Self::skip(format!("not checked, because {setting} is invalid"))
    }
}

/// What was found of a setting or a dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) verdict: Verdict,
    name: String,
    text: String,
}

impl Line {
    pub(super) fn new(name: &str, finding: &Finding) -> Self {
        // What others say may have line breaks.
        let text = finding.text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { verdict: finding.verdict, name: name.to_owned(), text }
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
