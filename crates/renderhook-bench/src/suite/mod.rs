//! What can be measured.

mod events;
mod explain;
mod growth;
mod large_files;
mod notifications;
mod process;
mod reads;
mod small_files;
mod streams;

use std::time::Duration;

use clap::{Args, ValueEnum};

use self::small_files::Destination;
use crate::environment::Environment;

/// A measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Recorded events per second.
    Events,
    /// `GET /renders/{id}` per second.
    Reads,
    /// Small files stored per second.
    SmallFiles,
    /// The time to store large files.
    LargeFiles,
    /// Idle streams and waiting callers.
    Streams,
    /// Notifications posted per second.
    Notifications,
    /// The binary's size, the time to start, and the memory of an idle process.
    Process,
    /// Events, reads, lists and metrics with more and more renders.
    Growth,
    /// The execution plans of the hot statements.
    Explain,
}

/// How long and how often to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Pairs of runs: the figure and its floor.
    #[arg(long, default_value_t = 5)]
    pub(crate) pairs: usize,
    /// Seconds per run.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections at once, for events.
    #[arg(long, value_delimiter = ',', default_value = "1,32,128")]
    pub(crate) connections: Vec<usize>,
    /// Transfers at once, for small files.
    #[arg(long, value_delimiter = ',', default_value = "8,32")]
    pub(crate) at_once: Vec<usize>,
    /// Where small files are stored.
    #[arg(long, value_delimiter = ',', default_value = "one-folder,folder-each,s3")]
    pub(crate) into: Vec<Destination>,
    /// Numbers of renders for `growth`, ascending.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    pub(crate) renders: Vec<usize>,
}

impl Options {
    /// The length of a run.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

impl Suite {
    /// What runs by default, in the order of `docs/performance.md`.
    pub(crate) const DEFAULT: &[Self] = &[
        Self::Events,
        Self::Reads,
        Self::SmallFiles,
        Self::LargeFiles,
        Self::Streams,
        Self::Notifications,
        Self::Process,
    ];

    /// Measures and prints its tables.
    pub(crate) async fn run(self, environment: &Environment, options: &Options) -> anyhow::Result<()> {
        match self {
            Self::Events => events::run(environment, options).await,
            Self::Reads => reads::run(environment, options).await,
            Self::SmallFiles => small_files::run(environment, options).await,
            Self::LargeFiles => large_files::run(environment, options).await,
            Self::Streams => streams::run(environment).await,
            Self::Notifications => notifications::run(environment, options).await,
            Self::Process => process::run(environment, options).await,
            Self::Growth => growth::run(environment, options).await,
            Self::Explain => explain::run(environment, options).await,
        }
    }
}
