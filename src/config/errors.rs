//! Errors and warnings about settings.

use std::borrow::Cow;
use std::fmt;

/// A problem with a setting. Names the setting and never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The setting's name in the environment.
    pub name: Cow<'static, str>,
    /// What is wrong, and what is expected.
    pub problem: String,
}

/// All problems with the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Adds a problem.
    pub fn add(&mut self, name: impl Into<Cow<'static, str>>, problem: impl Into<String>) {
        self.0.push(ConfigError { name: name.into(), problem: problem.into() });
    }

    /// Adds all problems of `others`.
    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// The problems, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    /// Whether there are no problems.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `value` if there are no problems, and the problems otherwise.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid settings:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {}: {}", error.name, error.problem))
    }
}

impl std::error::Error for ConfigErrors {}

/// A setting that is valid but looks like a mistake. Never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigWarning {
    /// The setting's name in the environment.
    pub name: &'static str,
    /// What looks wrong.
    pub problem: String,
}
