//! The time that large files take into a folder, beside a plain copy and beside `rclone copyurl`, each followed by a sync.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use url::Url;

use crate::backlog::{BenchDatabase, Stored};
use crate::environment::Environment;
use crate::file_server::NoiseServer;
use crate::pairs::{median, ratio};
use crate::suite::Options;
use crate::table;

/// How many files a run stores, all at once.
const FILES: usize = 6;
/// The length of each.
const BYTES: usize = 256 << 20;

/// One run, and the seconds of its floors.
struct LargeFilesRun {
    stored: Stored,
    copy: f64,
    rclone: Option<f64>,
}

pub(super) async fn run(environment: &Environment, options: &Options) -> anyhow::Result<()> {
    let backlog = BenchDatabase::prepare(environment.database("large_files").await?).await?;
    let files = NoiseServer::start()?;
    let urls = (0..FILES).map(|file| files.url(&file.to_string(), BYTES)).collect::<anyhow::Result<Vec<_>>>()?;
    let has_rclone = Command::new("rclone").arg("version").output().is_ok();
    if !has_rclone {
        println!("\nrclone is not installed: large files are compared with a plain copy only");
    }
    table::begin(
        &format!("{FILES} files of {} MiB into a folder", BYTES >> 20),
        &["plain copy s", "rclone s", "renderhook s", "ratio to the copy", "ratio to rclone", "CPU s", "peak MiB"],
    );
    let mut pairs = Vec::new();
    for pair in 0..options.pairs {
        let folder = environment.folder("large")?;
        let copy = timed(|| copy_all(&folder, &urls))?;
        let folder = environment.folder("large")?;
        let rclone = has_rclone.then(|| timed(|| rclone(&folder, &urls))).transpose()?;
        let folder = environment.folder("large")?;
        backlog.record(vec![(format!("bench-large-{pair}"), urls.clone())]).await?;
        environment.checkpoint().await?;
        // The floors asked as well.
        files.take_first_request()?;
        let stored = backlog.store(&files, &folder, &[]).await?;
        pairs.push(LargeFilesRun { stored, copy, rclone });
    }
    print(&pairs);
    fs::remove_dir_all(environment.folder("large")?)?;
    Ok(())
}

fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Copies each file by a thread of its own, which syncs it at its end.
fn copy_all(folder: &Path, urls: &[Url]) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let copy = |(file, url)| scope.spawn(move || copy(url, &folder.join(format!("{file}.mp4"))));
        let threads: Vec<_> = urls.iter().enumerate().map(copy).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread that does not panic"))
    })?;
    Ok(File::open(folder)?.sync_all()?)
}

fn copy(url: &Url, path: &Path) -> io::Result<()> {
    let mut stream = TcpStream::connect(url.socket_addrs(|| None)?.as_slice())?;
    write!(stream, "GET {} HTTP/1.1\r\nhost: files\r\n\r\n", url.path())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let mut file = File::create_new(path)?;
    io::copy(&mut stream.take(BYTES as u64), &mut file)?;
    file.sync_all()
}

fn rclone(folder: &Path, urls: &[Url]) -> anyhow::Result<()> {
    let start = |(file, url): (usize, &Url)| {
        let mut command = Command::new("rclone");
        command.args(["--config", "/dev/null", "copyurl", url.as_str()]).arg(folder.join(format!("{file}.mp4")));
        command.stdin(Stdio::null()).spawn().context("cannot run rclone")
    };
    let running: Vec<_> = urls.iter().enumerate().map(start).collect::<anyhow::Result<_>>()?;
    for mut rclone in running {
        ensure!(rclone.wait()?.success(), "rclone failed");
    }
    for file in fs::read_dir(folder)? {
        File::open(file?.path())?.sync_all()?;
    }
    Ok(File::open(folder)?.sync_all()?)
}

fn print(pairs: &[LargeFilesRun]) {
    let to_copy: Vec<_> = pairs.iter().map(|pair| (pair.stored.seconds, pair.copy)).collect();
    let to_rclone: Option<Vec<_>> = pairs.iter().map(|pair| Some((pair.stored.seconds, pair.rclone?))).collect();
    let seconds = |values: &mut dyn Iterator<Item = f64>| format!("{:.2}", median(values));
    let (none, rclone) = ("-".to_owned(), pairs.iter().map(|pair| pair.rclone).collect::<Option<Vec<_>>>());
    table::row(&[
        &seconds(&mut pairs.iter().map(|pair| pair.copy)),
        &rclone.map_or_else(|| none.clone(), |rclone| seconds(&mut rclone.into_iter())),
        &seconds(&mut pairs.iter().map(|pair| pair.stored.seconds)),
        &ratio(&to_copy),
        &to_rclone.map_or(none, |to_rclone| ratio(&to_rclone)),
        &seconds(&mut pairs.iter().map(|pair| pair.stored.cpu_seconds)),
        &format!("{:.0}", median(pairs.iter().map(|pair| pair.stored.peak_mib))),
    ]);
}
