//! Small files stored per second, beside durable writes to the same disk, and beside bare requests to the same S3 server.

use clap::ValueEnum;

use crate::backlog::{BenchDatabase, Stored};
use crate::durable_write::{self, Layout};
use crate::environment::Environment;
use crate::file_server::NoiseServer;
use crate::pairs::{median, ratio};
use crate::s3::{self, S3};
use crate::suite::Options;
use crate::table;

/// How many files a run stores.
const FILES: usize = 2_000;
/// The length of each.
const BYTES: usize = 20 << 10;

/// Where files are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Destination {
    /// All in one folder of the disk: the files of one render.
    OneFolder,
    /// Each in a folder of its own: of as many renders as files.
    FolderEach,
    /// In an S3 server: of as many renders as files.
    S3,
}

impl Destination {
    fn name(self) -> &'static str {
        match self {
            Self::OneFolder => "one folder",
            Self::FolderEach => "a folder each",
            Self::S3 => "the S3 server",
        }
    }
}

/// One run, its floor, and the plain floor if that is another one.
struct SmallFilesRun {
    stored: Stored,
    floor: f64,
    plain_floor: Option<f64>,
}

impl SmallFilesRun {
    fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts this small are exact")]
        let files = FILES as f64;
        files / self.stored.seconds
    }
}

struct SmallFilesBench<'a> {
    environment: &'a Environment,
    backlog: BenchDatabase,
    files: NoiseServer,
    s3: S3,
    runs: usize,
}

pub(super) async fn run(environment: &Environment, options: &Options) -> anyhow::Result<()> {
    let backlog = BenchDatabase::prepare(environment.database("small_files").await?).await?;
    let (files, s3) = (NoiseServer::start()?, S3::start(&environment.folder("s3")?).await?);
    let mut bench = SmallFilesBench { environment, backlog, files, s3, runs: 0 };
    table::begin(
        &format!("{} files of {} KiB", table::count(f64::from(u32::try_from(FILES)?)), BYTES >> 10),
        &["at once", "into", "floor/s", "files/s", "ratio", "to the plain floor", "CPU ms a file", "peak MiB"],
    );
    for &at_once in &options.at_once {
        for &into in &options.into {
            let mut pairs = Vec::new();
            for _ in 0..options.pairs {
                pairs.push(match into {
                    Destination::OneFolder => bench.folder(Layout::OneFolder, at_once).await?,
                    Destination::FolderEach => bench.folder(Layout::FolderEach, at_once).await?,
                    Destination::S3 => bench.bucket(at_once).await?,
                });
            }
            print(at_once, into, &pairs);
        }
    }
    bench.s3.stop().await
}

impl SmallFilesBench<'_> {
    /// Into new folders, which stay until the end: a file system that has just deleted files is slower.
    async fn folder(&mut self, layout: Layout, at_once: usize) -> anyhow::Result<SmallFilesRun> {
        self.record(layout).await?;
        let content = vec![7; BYTES];
        let folder = |name: &str| self.environment.folder(&format!("{name}{}", self.runs));
        let floor = durable_write::measure(&folder("floor")?, layout, FILES, &content)?;
        let plain_floor = match layout {
            Layout::OneFolder => None,
            Layout::FolderEach => Some(durable_write::measure(&folder("plain")?, Layout::OneFolder, FILES, &content)?),
        };
        let at_once = at_once.to_string();
        let settings = [("DOWNLOAD_CONCURRENCY", at_once.as_str())];
        let stored = self.backlog.store(&self.files, &folder("store")?, &settings).await?;
        Ok(SmallFilesRun { stored, floor, plain_floor })
    }

    async fn bucket(&mut self, at_once: usize) -> anyhow::Result<SmallFilesRun> {
        self.record(Layout::FolderEach).await?;
        let floor = self.s3.measure(&format!("floor{}", self.runs), FILES, &vec![7; BYTES], at_once).await?;
        let (variables, at_once) = (self.s3.settings(), at_once.to_string());
        let mut settings: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        settings.extend([("STORAGE_URL", s3::URL), ("DOWNLOAD_CONCURRENCY", &at_once)]);
        let folder = self.environment.folder(&format!("log{}", self.runs))?;
        let stored = self.backlog.store(&self.files, &folder, &settings).await?;
        Ok(SmallFilesRun { stored, floor, plain_floor: None })
    }

    /// Records the next backlog: one render with all files, or one for each.
    async fn record(&mut self, layout: Layout) -> anyhow::Result<()> {
        self.runs += 1;
        let run = self.runs;
        let urls = (0..FILES).map(|file| self.files.url(&format!("{run}-{file}"), BYTES));
        let urls = urls.collect::<anyhow::Result<Vec<_>>>()?;
        let renders = match layout {
            Layout::OneFolder => vec![(format!("bench-small-{run}"), urls)],
            Layout::FolderEach => {
                let one = |(file, url)| (format!("bench-small-{run}-{file}"), vec![url]);
                urls.into_iter().enumerate().map(one).collect()
            }
        };
        self.backlog.record(renders).await?;
        self.environment.checkpoint().await
    }
}

fn print(at_once: usize, into: Destination, pairs: &[SmallFilesRun]) {
    let ratios: Vec<_> = pairs.iter().map(|pair| (pair.rate(), pair.floor)).collect();
    let plain: Option<Vec<_>> = pairs.iter().map(|pair| Some((pair.rate(), pair.plain_floor?))).collect();
    #[expect(clippy::cast_precision_loss, reason = "counts this small are exact")]
    let processor = |pair: &SmallFilesRun| 1e3 * pair.stored.cpu_seconds / FILES as f64;
    table::row(&[
        &at_once,
        &into.name(),
        &table::count(median(pairs.iter().map(|pair| pair.floor))),
        &table::count(median(pairs.iter().map(SmallFilesRun::rate))),
        &ratio(&ratios),
        &plain.map_or_else(|| "the same".to_owned(), |plain| ratio(&plain)),
        &format!("{:.2}", median(pairs.iter().map(processor))),
        &format!("{:.0}", median(pairs.iter().map(|pair| pair.stored.peak_mib))),
    ]);
}
