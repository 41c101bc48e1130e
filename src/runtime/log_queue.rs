//! Writes the log without ever waiting for its reader.
//!
//! A line is put in a queue, and a thread writes what is queued. When the reader stalls (a full pipe, a stopped
//! terminal) the queue fills up to [`MAX_QUEUED_BYTES`]; further lines are dropped and counted. The service goes on, and
//! says how many lines are missing once the reader is back.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::time::Duration;

use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

use super::log::LogEvent;
use super::shutdown::Shutdown;

/// How many bytes of lines may wait to be written.
const MAX_QUEUED_BYTES: usize = 4 << 20;
/// How many bytes are written at once, about.
const MAX_WRITE_BYTES: usize = 64 << 10;
/// How long the end of the process waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// How often dropped lines are reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

enum Entry {
    Line(Vec<u8>),
    /// Everything before this entry is to be written; then it is answered.
    Flush(SyncSender<()>),
}

/// The lines that wait to be written. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogQueue {
    entries: Sender<Entry>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    queued_bytes: AtomicUsize,
    dropped_lines: AtomicU64,
}

impl LogQueue {
    /// Starts the thread that writes to `output`.
    pub(super) fn start(output: impl Write + Send + 'static) -> Self {
        let (entries, received) = mpsc::channel();
        let counts = Arc::new(Counts::default());
        let queue = Self { entries, counts: counts.clone() };
        // OK to ignore: without a thread the queue fills up, and lines are dropped and counted.
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(move || write(&received, &counts, output));
        queue
    }

    /// How many lines were dropped since the start.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.counts.dropped_lines.load(Ordering::Relaxed)
    }

    /// Waits until every line so far is written, for a second at most.
    pub fn flush(&self) {
        let (done, written) = mpsc::sync_channel(1);
        if self.entries.send(Entry::Flush(done)).is_ok() {
            // OK to ignore: a reader that stalls does not keep the process from ending.
            let _ = written.recv_timeout(FLUSH_TIMEOUT);
        }
    }

    /// Reports dropped lines until `shutdown`. A report that is dropped itself is repeated in the next one.
    pub async fn report_dropped(&self, shutdown: &Shutdown) {
        let mut reported = 0;
        while shutdown.asked().run_until_cancelled(tokio::time::sleep(REPORT_INTERVAL)).await.is_some() {
            let dropped = self.dropped_lines();
            if dropped > reported {
                warn!(event = %LogEvent::LogDropped, lines = dropped - reported, "the reader of the log stalled: lines are missing");
                // A report that was dropped raised the count.
                if self.dropped_lines() == dropped {
                    reported = dropped;
                }
            }
        }
    }

    fn push(&self, line: &[u8]) {
        let before = self.counts.queued_bytes.fetch_add(line.len(), Ordering::Relaxed);
        let fits = before + line.len() <= MAX_QUEUED_BYTES;
        if !fits || self.entries.send(Entry::Line(line.to_vec())).is_err() {
            self.counts.queued_bytes.fetch_sub(line.len(), Ordering::Relaxed);
            self.counts.dropped_lines.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter(self)
    }
}

/// Queues what it is given: the subscriber writes each line whole.
#[derive(Debug)]
pub struct LineWriter<'a>(&'a LogQueue);

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what is queued until no queue is left.
fn write(entries: &Receiver<Entry>, counts: &Counts, mut output: impl Write) {
    let mut lines = Vec::new();
    while let Ok(entry) = entries.recv() {
        let mut next = Some(entry);
        let mut flushed = None;
        while let Some(entry) = next.take() {
            match entry {
                Entry::Line(line) => lines.extend_from_slice(&line),
                Entry::Flush(done) => flushed = Some(done),
            }
            if flushed.is_none() && lines.len() < MAX_WRITE_BYTES {
                next = entries.try_recv().ok();
            }
        }
        // OK to ignore: a log whose reader is gone has nowhere to go.
        let _ = output.write_all(&lines).and_then(|()| output.flush());
        counts.queued_bytes.fetch_sub(lines.len(), Ordering::Relaxed);
        lines.clear();
        if let Some(done) = flushed {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    /// A reader that takes nothing until it is told to.
    struct Stalled {
        go: Receiver<()>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go.recv();
            self.read.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_and_a_flush_waits_for_them() {
        let (release, go) = channel();
        drop(release);
        let read = Arc::new(Mutex::new(Vec::new()));
        let queue = LogQueue::start(Stalled { go, read: read.clone() });
        let lines: Vec<_> = (0..1000).map(|at| format!("line {at}\n")).collect();
        for line in &lines {
            queue.make_writer().write_all(line.as_bytes()).unwrap();
        }
        queue.flush();
        assert_eq!(String::from_utf8(read.lock().unwrap().clone()).unwrap(), lines.concat());
        assert_eq!(queue.dropped_lines(), 0);
    }

    #[test]
    fn a_reader_that_stalls_holds_nothing_up_and_what_did_not_fit_is_counted() {
        let (release, go) = channel();
        let read = Arc::new(Mutex::new(Vec::new()));
        let queue = LogQueue::start(Stalled { go, read: read.clone() });
        let line = [b'x'; 1 << 10];
        for _ in 0..(MAX_QUEUED_BYTES >> 10) + 100 {
            queue.make_writer().write_all(&line).unwrap();
        }
        assert_eq!(queue.dropped_lines(), 100);
        drop(release);
        queue.flush();
        assert_eq!(read.lock().unwrap().len(), MAX_QUEUED_BYTES);
        queue.make_writer().write_all(&line).unwrap();
        assert_eq!(queue.dropped_lines(), 100, "there is room again");
    }
}
