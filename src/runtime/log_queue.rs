//! Writes the log without ever waiting for its reader.
//!
//! Lines go into a queue, and a thread writes them. If the reader stalls (a full pipe, a paused terminal), the queue fills
//! up to [`MAX_QUEUED_BYTES`], and further lines are dropped and counted. The number of dropped lines is logged once
//! the reader is back.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

use super::log::LogEvent;
use super::shutdown::Shutdown;

/// The maximum number of bytes waiting to be written.
const MAX_QUEUED_BYTES: usize = 4 << 20;
/// How long the thread collects lines after a write before it writes again. Waking it for every line would cost a busy
/// service more than writing the lines.
const WRITE_INTERVAL: Duration = Duration::from_millis(2);
/// How much memory the queue keeps while it is empty.
const KEPT_BYTES: usize = 64 << 10;
/// How long to wait for the last lines when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// How often dropped lines are logged.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The queue of lines to be written. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<QueueState>,
    /// Wakes the thread: there are lines, or somebody waits for a flush.
    work: Condvar,
    /// Wakes those that wait for a flush: something was written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    /// Whole lines, not yet taken by the thread.
    lines: Vec<u8>,
    /// How many bytes the thread has taken and not yet written.
    being_written: usize,
    /// Whether the thread waits for a line.
    idle: bool,
    /// How many calls of `flush` wait.
    flushing: usize,
    dropped_lines: u64,
}

impl QueueState {
    fn queued_bytes(&self) -> usize {
        self.lines.len() + self.being_written
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogQueue {
    /// Starts a thread that writes to `output` for as long as the process runs.
    pub(super) fn start(output: impl Write + Send + 'static) -> Self {
        let shared = Arc::<Shared>::default();
        let queue = Self(shared.clone());
        // OK to ignore: without a thread the queue fills up, and lines are dropped and counted.
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(move || write(&shared, output));
        queue
    }

    /// How many lines were dropped since the process started.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.0.lock().dropped_lines
    }

    /// Waits up to a second until every earlier line is written.
    pub fn flush(&self) {
        let mut state = self.0.lock();
        state.flushing += 1;
        self.0.work.notify_one();
        // A stalled reader must not keep the process from ending.
        let waited = self.0.written.wait_timeout_while(state, FLUSH_TIMEOUT, |state| state.queued_bytes() > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.flushing -= 1;
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
        let mut state = self.0.lock();
        if state.queued_bytes() + line.len() > MAX_QUEUED_BYTES {
            state.dropped_lines += 1;
            return;
        }
        state.lines.extend_from_slice(line);
        if std::mem::take(&mut state.idle) {
            drop(state);
            self.0.work.notify_one();
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

/// Writes queued lines.
fn write(shared: &Shared, mut output: impl Write) {
    let mut taken = Vec::new();
    let mut state = shared.lock();
    loop {
        state.idle = state.lines.is_empty();
        state = shared.work.wait_while(state, |state| state.lines.is_empty()).unwrap_or_else(PoisonError::into_inner);
        state.idle = false;
        std::mem::swap(&mut state.lines, &mut taken);
        state.being_written = taken.len();
        drop(state);
        // OK to ignore: if the reader is gone, lines have nowhere to go.
        let _ = output.write_all(&taken).and_then(|()| output.flush());
        taken.clear();
        taken.shrink_to(KEPT_BYTES);
        state = shared.lock();
        state.being_written = 0;
        shared.written.notify_all();
        let collected = shared.work.wait_timeout_while(state, WRITE_INTERVAL, |state| state.flushing == 0);
        state = collected.unwrap_or_else(PoisonError::into_inner).0;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

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
