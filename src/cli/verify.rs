//! `renderhook verify`.

use std::collections::VecDeque;
use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;
use futures::{StreamExt, stream};

use super::database;
use super::output::Output;
use crate::archive::{
    FilePosition, ObjectFault, RepairOutcome, Store, StoredFileFilter, StoredFileRecord, is_current, repair,
    stored_files, verify_file,
};
use crate::config::{self, ConfigErrors, DatabaseArgs, StorageArgs};
use crate::domain::RenderId;
use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database};
use crate::views;

/// How many objects are read at once.
const CONCURRENCY: usize = 8;
/// How many records are read at once.
const PAGE: i64 = 500;
/// After this many objects in a row that cannot be read, the command gives up.
const MAX_UNREADABLE: usize = 10;

/// Flags of `verify`.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyFlags {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    storage: StorageArgs,
    /// Only files of this render
    #[arg(long, value_name = "ID")]
    render: Option<RenderId>,
    /// Only files stored within this time, such as 7d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// Only a random part of the files, such as 1%
    #[arg(long, value_name = "PERCENT", default_value = "100%")]
    sample: Sample,
    /// Downloads files again whose objects are missing or different, if Magic Hour still has their projects
    #[arg(long)]
    repair: bool,
    /// Continues after the render with this id, which an interrupted run has printed
    #[arg(long, value_name = "ID")]
    after: Option<RenderId>,
}

/// A part of the files, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample(f64);

impl FromStr for Sample {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent: Option<f64> = text.strip_suffix('%').and_then(|number| number.parse().ok());
        let part = percent.map(|percent| percent / 100.0).filter(|part| *part > 0.0 && *part <= 1.0);
        part.map(Self).ok_or("must be a percentage above 0% and up to 100%, such as 1%")
    }
}

/// The number of files per result.
#[derive(Debug, Default)]
struct VerifyCounts {
    intact: usize,
    faulty: usize,
    unreadable: usize,
    queued: usize,
}

impl VerifyCounts {
    fn total(&self) -> usize {
        self.intact + self.faulty + self.unreadable
    }

    fn summary(&self) -> String {
        let Self { intact, faulty, unreadable, queued } = self;
        let noun = if self.total() == 1 { "object" } else { "objects" };
        let repaired = if *queued > 0 { format!("; {queued} downloaded again") } else { String::new() };
        format!(
            "{} {noun} read: {intact} intact, {faulty} missing or different, {unreadable} unreadable{repaired}",
            self.total()
        )
    }
}

pub(super) async fn run(args: VerifyFlags) -> anyhow::Result<()> {
    let mut errors = ConfigErrors::default();
    let store = args.storage.read(config::environment(), &mut errors);
    let Some(store) = errors.into_result(store)? else { bail!("STORAGE_URL is required") };
    let database = database::connect(&args.database).await?;
    if let Some(id) = &args.render
        && !database.with_timeout(BACKGROUND_TIMEOUT, views::exists(database.pool(), id)).await?
    {
        bail!("there is no render with the id {id}");
    }
    let mut verification = Verification::new(args, database, store);
    tokio::select! {
        ended = verification.run() => ended?,
        _ = tokio::signal::ctrl_c() => {
            verification.output.finish(verification.counts.summary())?;
            match verification.verified {
                Some(id) => bail!("interrupted: continue with --after {id}"),
                None => bail!("interrupted"),
            }
        }
    }
    verification.output.finish(verification.counts.summary())?;
    if verification.counts.total() > verification.counts.intact {
        bail!("not every object is intact: see the lines above");
    }
    Ok(())
}

/// Reads the records of stored files, a page at a time.
struct FileReader {
    database: Database,
    filter: StoredFileFilter,
    sample: Sample,
    after: Option<FilePosition>,
    page: VecDeque<StoredFileRecord>,
    is_done: bool,
}

impl FileReader {
    async fn next(&mut self) -> anyhow::Result<Option<StoredFileRecord>> {
        loop {
            if let Some(file) = self.page.pop_front() {
                if rand::random::<f64>() < self.sample.0 {
                    return Ok(Some(file));
                }
                continue;
            }
            if self.is_done {
                return Ok(None);
            }
            let page = stored_files(&self.database, &self.filter, self.after.as_ref(), PAGE).await?;
            match page.last() {
                Some(last) => self.after = Some(FilePosition { render_id: last.render_id.clone(), index: last.index }),
                None => self.is_done = true,
            }
            self.page = page.into();
        }
    }
}

struct Verification {
    files: FileReader,
    database: Database,
    store: Store,
    clock: Clock,
    repair: bool,
    counts: VerifyCounts,
    output: Output,
    /// The render up to which all files are verified.
    verified: Option<String>,
    unreadable_in_a_row: usize,
}

impl Verification {
    fn new(args: VerifyFlags, database: Database, store: Store) -> Self {
        let clock = Clock::system();
        let filter = StoredFileFilter { render: args.render, since: database::time_ago(args.since, clock.now()) };
        let files = FileReader {
            database: database.clone(),
            filter,
            sample: args.sample,
            after: args.after.map(|id| FilePosition { render_id: id.to_string(), index: i32::MAX }),
            page: VecDeque::new(),
            is_done: false,
        };
        Self {
            files,
            database,
            store,
            clock,
            repair: args.repair,
            counts: VerifyCounts::default(),
            output: Output::counting("objects"),
            verified: None,
            unreadable_in_a_row: 0,
        }
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        let (store, mut current): (_, Option<String>) = (self.store.clone(), None);
        loop {
            // A batch of concurrent reads; each holds a chunk in memory.
            let mut batch = Vec::with_capacity(CONCURRENCY);
            while batch.len() < CONCURRENCY
                && let Some(file) = self.files.next().await?
            {
                batch.push(file);
            }
            if batch.is_empty() {
                return Ok(());
            }
            let results: Vec<_> = stream::iter(batch)
                .map(|file| {
                    let store = store.clone();
                    async move {
                        let result = verify_file(&store, &file).await;
                        (file, result)
                    }
                })
                .buffered(CONCURRENCY)
                .collect()
                .await;
            for (file, result) in results {
                if current.as_ref().is_some_and(|current| *current != file.render_id) {
                    self.verified = current.take();
                }
                current = Some(file.render_id.clone());
                self.add(&file, result).await?;
            }
        }
    }

    /// Counts a result and, if the object is not intact, prints a line.
    async fn add(&mut self, file: &StoredFileRecord, result: Result<(), ObjectFault>) -> anyhow::Result<()> {
        let Err(fault) = result else {
            (self.counts.intact, self.unreadable_in_a_row) = (self.counts.intact + 1, 0);
            self.output.count();
            return Ok(());
        };
        if !is_current(&self.database, file).await? {
            return Ok(());
        }
        let mut repaired = "";
        if fault.is_proven() {
            (self.counts.faulty, self.unreadable_in_a_row) = (self.counts.faulty + 1, 0);
            if self.repair {
                repaired = self.repair(file).await?;
            }
        } else {
            self.counts.unreadable += 1;
            self.unreadable_in_a_row += 1;
        }
        self.output.line(format_args!("{} {} {}: {fault}{repaired}", file.render_id, file.index, file.key))?;
        if self.unreadable_in_a_row >= MAX_UNREADABLE {
            bail!("{MAX_UNREADABLE} objects in a row cannot be read: check STORAGE_URL and its credentials");
        }
        Ok(())
    }

    async fn repair(&mut self, file: &StoredFileRecord) -> anyhow::Result<&'static str> {
        Ok(match repair(&self.database, file, self.clock.now()).await? {
            RepairOutcome::Queued => {
                self.counts.queued += 1;
                "; it is downloaded again"
            }
            RepairOutcome::Gone => "; its project was deleted at Magic Hour, so it cannot be downloaded again",
            RepairOutcome::Changed => "; it has changed meanwhile",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_percentage() {
        for (text, expected) in [("100%", Some(1.0)), ("1%", Some(0.01)), ("0.5%", Some(0.005))] {
            assert_eq!(text.parse().ok(), expected.map(Sample), "{text}");
        }
        for text in ["", "1", "0%", "101%", "-1%", "%", "NaN%", "inf%"] {
            assert!(text.parse::<Sample>().is_err(), "{text}");
        }
    }
}
