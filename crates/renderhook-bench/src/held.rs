//! Connections that are held open: streams, and callers whose answer is not due yet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

/// How many connections are opened at once.
const OPENED_AT_ONCE: usize = 100;
/// How long opening all of them may take, and an event to reach all of them.
const LIMIT: Duration = Duration::from_mins(2);
/// How often is checked how many have received something.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Held connections. They are read by a thread of their own.
#[derive(Debug)]
pub(crate) struct HeldConnections {
    counts: Arc<Counts>,
    /// Present until the end.
    runtime: Option<Runtime>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Connections that have sent their request.
    sent: AtomicUsize,
    /// Connections that were answered, at least by a head.
    answered: AtomicUsize,
    /// Connections that have received an event.
    events: AtomicUsize,
    /// Connections that have ended.
    ended: AtomicUsize,
}

impl HeldConnections {
    /// Opens a connection for each request, of a stream.
    pub(crate) async fn streams(address: SocketAddr, requests: Vec<Bytes>) -> anyhow::Result<Self> {
        Self::open(address, requests, |counts| &counts.answered).await
    }

    /// Opens a connection for each request, of a caller that waits for an answer.
    pub(crate) async fn callers(address: SocketAddr, requests: Vec<Bytes>) -> anyhow::Result<Self> {
        Self::open(address, requests, |counts| &counts.sent).await
    }

    async fn open(
        address: SocketAddr,
        requests: Vec<Bytes>,
        opened: impl Fn(&Counts) -> &AtomicUsize,
    ) -> anyhow::Result<Self> {
        let (counts, count) = (Arc::new(Counts::default()), requests.len());
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("held").enable_all().build()?;
        let handle = runtime.handle().clone();
        let held = Self { counts, runtime: Some(runtime) };
        let mut requests = requests.into_iter();
        let mut begun = 0;
        while begun < count {
            for request in requests.by_ref().take(OPENED_AT_ONCE) {
                let counts = held.counts.clone();
                // An error counts as an end.
                handle.spawn(async move {
                    let _ = hold(address, request, &counts).await;
                    counts.ended.fetch_add(1, Ordering::Relaxed);
                });
                begun += 1;
            }
            held.until(&opened, begun).await?;
        }
        Ok(held)
    }

    /// Waits until so many have been answered.
    pub(crate) async fn until_answered(&self, count: usize) -> anyhow::Result<Duration> {
        self.until(|counts| &counts.answered, count).await
    }

    /// Waits until so many have received an event.
    pub(crate) async fn until_events(&self, count: usize) -> anyhow::Result<Duration> {
        self.until(|counts| &counts.events, count).await
    }

    /// How many have ended.
    pub(crate) fn ended(&self) -> usize {
        self.counts.ended.load(Ordering::Relaxed)
    }

    async fn until(&self, which: impl Fn(&Counts) -> &AtomicUsize, count: usize) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        loop {
            let now = which(&self.counts).load(Ordering::Relaxed);
            if now >= count {
                return Ok(begun.elapsed());
            }
            ensure!(begun.elapsed() < LIMIT, "{now} of {count} connections came so far, {} have ended", self.ended());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl Drop for HeldConnections {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn hold(address: SocketAddr, request: Bytes, counts: &Counts) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await.context("cannot connect")?;
    stream.write_all(&request).await?;
    counts.sent.fetch_add(1, Ordering::Relaxed);
    let mut received = Vec::with_capacity(1 << 10);
    let (mut is_answered, mut has_event) = (false, false);
    while stream.read_buf(&mut received).await? > 0 {
        if !is_answered && received.starts_with(b"HTTP/1.1 200 ") {
            is_answered = true;
            counts.answered.fetch_add(1, Ordering::Relaxed);
        }
        let event = b"event: render.failed";
        if !has_event && received.windows(event.len()).any(|part| part == event) {
            has_event = true;
            counts.events.fetch_add(1, Ordering::Relaxed);
        }
        // What may be the beginning of an event.
        let seen = received.len().saturating_sub(64);
        received.drain(..seen);
    }
    Ok(())
}
