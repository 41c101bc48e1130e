//! The output lines of `check`.

use std::fmt;
use std::time::Duration;

/// How long checking a dependency may take.
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// The status of a checked setting or dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckStatus {
    /// Everything is fine.
    Ok,
    /// It works, but may need attention.
    Warn,
    /// It does not work.
    Fail,
    /// It could not be checked, because of another problem.
    Skip,
}

/// A status and an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) status: CheckStatus,
    pub(super) text: String,
}

impl Finding {
    pub(super) fn ok(text: impl Into<String>) -> Self {
        Self { status: CheckStatus::Ok, text: text.into() }
    }

    pub(super) fn warn(text: impl Into<String>) -> Self {
        Self { status: CheckStatus::Warn, text: text.into() }
    }

    pub(super) fn fail(text: impl Into<String>) -> Self {
        Self { status: CheckStatus::Fail, text: text.into() }
    }

    pub(super) fn skip(text: impl Into<String>) -> Self {
        Self { status: CheckStatus::Skip, text: text.into() }
    }

    /// A dependency that could not be checked, because `setting` is invalid.
    pub(super) fn invalid(setting: &str) -> Self {
        Self::skip(format!("not checked, because {setting} is invalid"))
    }

    /// A dependency that did not answer in time.
    pub(super) fn no_answer() -> Self {
        Self::fail(format!("no answer within {} s", CHECK_TIMEOUT.as_secs()))
    }
}

/// A line about a setting or a dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CheckLine {
    pub(super) status: CheckStatus,
    name: String,
    text: String,
}

impl CheckLine {
    pub(super) fn new(name: &str, finding: &Finding) -> Self {
        // Messages of other programs may have line breaks.
        let text = finding.text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { status: finding.status, name: name.to_owned(), text }
    }
}

impl fmt::Display for CheckLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            CheckStatus::Ok => "ok",
            CheckStatus::Warn => "warn",
            CheckStatus::Fail => "FAIL",
            CheckStatus::Skip => "skip",
        };
        write!(f, "{status:<5} {:<30} {}", self.name, self.text)
    }
}
