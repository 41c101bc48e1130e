//! Writes the log without ever waiting for its reader.
//!
//! Lines go into a queue, and a thread writes them. If the reader stalls (a full pipe, a paused terminal), the queue fills
//! up to [`MAX_QUEUED_BYTES`], and further lines are dropped and counted. The number of dropped lines is logged once
//! the reader is back.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::time::Duration;

use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

use super::log::LogEvent;
use super::shutdown::Shutdown;

/// The maximum number of bytes waiting to be written.
const MAX_QUEUED_BYTES: usize = 4 << 20;
/// About how many bytes are written at once.
const MAX_WRITE_BYTES: usize = 64 << 10;
/// How long to wait for the last lines when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// How often dropped lines are logged.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

enum QueueMessage {
    Line(Vec<u8>),
    /// Asks for an answer once every earlier line is written.
    Flush(SyncSender<()>),
}

/// The queue of lines to be written. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogQueue {
    messages: Sender<QueueMessage>,
    counts: Arc<LineCounts>,
}

#[derive(Debug, Default)]
struct LineCounts {
    queued_bytes: AtomicUsize,
    dropped_lines: AtomicU64,
}

impl LogQueue {
    /// Starts a thread that writes to `output`.
    pub(super) fn start(output: impl Write + Send + 'static) -> Self {
        let (messages, receiver) = mpsc::channel();
        let counts = Arc::new(LineCounts::default());
        let queue = Self { messages, counts: counts.clone() };
        // OK to ignore: without a thread the queue fills up, and lines are dropped and counted.
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(move || write(&receiver, &counts, output));
        queue
    }

    /// How many lines were dropped since the process started.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.counts.dropped_lines.load(Ordering::Relaxed)
    }

    /// Waits up to a second until every earlier line is written.
    pub fn flush(&self) {
        let (done, written) = mpsc::sync_channel(1);
        if self.messages.send(QueueMessage::Flush(done)).is_ok() {
            // OK to ignore: a stalled reader must not keep the process from ending.
            let _ = written.recv_timeout(FLUSH_TIMEOUT);
        }
    }

    /// Logs the number of dropped lines until a stop is requested. If that line is dropped too, the next one includes it.
    pub async fn report_dropped(&self, shutdown: &Shutdown) {
        let mut reported = 0;
        while shutdown.requested().run_until_cancelled(tokio::time::sleep(REPORT_INTERVAL)).await.is_some() {
            let dropped = self.dropped_lines();
            if dropped > reported {
                warn!(event = %LogEvent::LogDropped, lines = dropped - reported, "log lines were dropped because the reader stalled");
                // If this line was dropped itself, the count is higher now.
                if self.dropped_lines() == dropped {
                    reported = dropped;
                }
            }
        }
    }

    fn push(&self, line: &[u8]) {
        let before = self.counts.queued_bytes.fetch_add(line.len(), Ordering::Relaxed);
        let fits = before + line.len() <= MAX_QUEUED_BYTES;
        if !fits || self.messages.send(QueueMessage::Line(line.to_vec())).is_err() {
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

/// Queues each line. The subscriber writes a line in one call.
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

/// Writes queued lines until every [`LogQueue`] is dropped.
fn write(messages: &Receiver<QueueMessage>, counts: &LineCounts, mut output: impl Write) {
    let mut lines = Vec::new();
    while let Ok(message) = messages.recv() {
        let mut next = Some(message);
        let mut flushed = None;
        while let Some(message) = next.take() {
            match message {
                QueueMessage::Line(line) => lines.extend_from_slice(&line),
                QueueMessage::Flush(done) => flushed = Some(done),
            }
            if flushed.is_none() && lines.len() < MAX_WRITE_BYTES {
                next = messages.try_recv().ok();
            }
        }
        // OK to ignore: if the reader is gone, lines have nowhere to go.
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

    /// A reader that blocks until `release` is dropped.
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
    fn a_stalled_reader_blocks_nothing_and_dropped_lines_are_counted() {
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
