//! `renderhook check`: one line for each setting and each dependency.
//!
//! Guaranteed: nothing changes, except that a test object is written and deleted, and a test message posted; no secret is
//! shown; each dependency with valid settings is checked, with its own time limit, even if other settings are invalid; the
//! order of the lines is fixed.

mod database;
mod dependencies;
mod line;
mod listen;
mod notify;
mod store;
mod upstream;

use std::io::IsTerminal;

use clap::{ArgMatches, Command, FromArgMatches};

use self::line::{CheckLine, CheckStatus, Finding};
use super::output::Output;
use crate::config::{self, ConfigErrors, ConfigWarning, ServeArgs, ShownSetting};
use crate::runtime::Clock;

/// Flags of `check`: those of `serve`, and their values for display.
#[derive(Debug)]
pub(super) struct CheckFlags {
    settings: ServeArgs,
    shown: Vec<ShownSetting>,
}

impl clap::Args for CheckFlags {
    fn augment_args(command: Command) -> Command {
        ServeArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        ServeArgs::augment_args_for_update(command)
    }
}

impl FromArgMatches for CheckFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { settings: ServeArgs::from_arg_matches(matches)?, shown: config::shown(matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckFailed {
    /// At least one setting is invalid.
    #[error("settings are invalid: see the lines that begin with FAIL")]
    Settings,
    /// All settings are valid, but a dependency does not work.
    #[error("a dependency does not work: see the lines that begin with FAIL")]
    Dependencies,
}

pub(super) async fn run(args: CheckFlags) -> anyhow::Result<()> {
    let mut output = Output::default();
    let read = args.settings.read(config::environment(), std::io::stdout().is_terminal());
    let errors = read.err().unwrap_or_default();
    for line in settings(&args.shown, &errors, &args.settings.warnings()) {
        output.line(line)?;
    }
    let dependencies = args.settings.dependencies(config::environment());
    let lines = dependencies::check(&dependencies, &Clock::system()).await;
    for line in &lines {
        output.line(line)?;
    }
    if !errors.is_empty() {
        return Err(CheckFailed::Settings.into());
    }
    let failed = lines.iter().any(|line| line.status == CheckStatus::Fail);
    if failed { Err(CheckFailed::Dependencies.into()) } else { Ok(()) }
}

/// A line for each error, each warning, and each setting without either. Errors about other variables, such as those of a
/// cloud provider, come last.
fn settings(shown: &[ShownSetting], errors: &ConfigErrors, warnings: &[ConfigWarning]) -> Vec<CheckLine> {
    let is_about = |name: &str, setting: &ShownSetting| name.strip_suffix("_FILE").unwrap_or(name) == setting.name;
    let mut lines = Vec::new();
    for setting in shown {
        let before = lines.len();
        let errors = errors.iter().filter(|error| is_about(&error.name, setting));
        lines.extend(errors.map(|error| CheckLine::new(&error.name, &Finding::fail(&error.problem))));
        let warnings = warnings.iter().filter(|warning| is_about(warning.name, setting));
        lines.extend(warnings.map(|warning| CheckLine::new(warning.name, &Finding::warn(&warning.problem))));
        if lines.len() == before {
            lines.push(CheckLine::new(&setting.name, &Finding::ok(&setting.value)));
        }
    }
    let others = errors.iter().filter(|error| !shown.iter().any(|setting| is_about(&error.name, setting)));
    lines.extend(others.map(|error| CheckLine::new(&error.name, &Finding::fail(&error.problem))));
    lines
}
