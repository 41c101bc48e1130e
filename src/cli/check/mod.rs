//! `renderhook check`: every setting and every neighbour, a line each.
//!
//! Guaranteed: nothing is changed but for a probe object, which is written and deleted; no secret is shown; every
//! neighbour whose settings are right is looked at, also where other settings are wrong, and has a deadline of its own;
//! the lines stand in the same order each time.

mod dependencies;
mod verdict;

use std::io::IsTerminal;

use clap::{ArgMatches, Command, FromArgMatches};

use self::verdict::{Line, Verdict};
use crate::config::{self, ConfigErrors, ServeArgs, Setting};
use crate::runtime::Clock;

/// Flags of `check`: those of `serve`, and what was said of each.
#[derive(Debug)]
pub(super) struct Args {
    settings: ServeArgs,
    shown: Vec<Setting>,
}

impl clap::Args for Args {
    fn augment_args(command: Command) -> Command {
        ServeArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        ServeArgs::augment_args_for_update(command)
    }
}

impl FromArgMatches for Args {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { settings: ServeArgs::from_arg_matches(matches)?, shown: config::shown(matches) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What is not as it has to be.
#[derive(Debug, thiserror::Error)]
pub(super) enum Attention {
    /// At least a setting.
    #[error("the settings need attention: see the lines that begin with FAIL")]
    Settings,
    /// Dependencies alone.
    #[error("a neighbour needs attention: see the lines that begin with FAIL")]
    Dependencies,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let read = args.settings.read(config::environment(), std::io::stdout().is_terminal());
    let mistakes = read.err().unwrap_or_default();
    for line in settings(&args.shown, &mistakes) {
        println!("{line}");
    }
    let neighbours = args.settings.neighbours(config::environment());
    let lines = dependencies::look(&neighbours, &Clock::system()).await;
    for line in &lines {
        println!("{line}");
    }
    if !mistakes.is_empty() {
        return Err(Attention::Settings.into());
    }
    let failed = lines.iter().any(|line| line.verdict == Verdict::Fail);
    if failed { Err(Attention::Dependencies.into()) } else { Ok(()) }
}

/// A line for each setting that is right, and for each mistake. A mistake that is about no setting of our own, such as
/// one of a cloud's, comes last.
fn settings(shown: &[Setting], mistakes: &ConfigErrors) -> Vec<Line> {
    let is_about = |name: &str, setting: &Setting| name.strip_suffix("_FILE").unwrap_or(name) == setting.name;
    let told = |name: &str, problem: &str| Line::new(Verdict::Fail, name, problem);
    let mut lines = Vec::new();
    for setting in shown {
        let before = lines.len();
        let wrong = mistakes.iter().filter(|mistake| is_about(&mistake.name, setting));
        lines.extend(wrong.map(|mistake| told(&mistake.name, &mistake.problem)));
        if lines.len() == before {
            lines.push(Line::new(Verdict::Ok, &setting.name, &setting.value));
        }
    }
    let others = mistakes.iter().filter(|mistake| !shown.iter().any(|setting| is_about(&mistake.name, setting)));
    lines.extend(others.map(|mistake| told(&mistake.name, &mistake.problem)));
    lines
}
