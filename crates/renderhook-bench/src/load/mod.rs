//! A small load generator for prepared requests.
//!
//! wrk and its like cannot send a body of its own, signed, with each request without computing it while they measure. Here
//! the requests are prepared beforehand, and each of several keep-alive connections sends one after another. One thread
//! does it all, so that as much of the machine as possible is left for what is measured.

mod response;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Requests to send: each once, or over and over again.
#[derive(Debug)]
pub(crate) struct Requests {
    list: Vec<Bytes>,
    next: AtomicUsize,
    repeated: bool,
}

impl Requests {
    /// Each is sent once; a run ends early when none is left.
    pub(crate) fn once(list: Vec<Bytes>) -> Self {
        Self { list, next: AtomicUsize::new(0), repeated: false }
    }

    /// Sent over and over again.
    pub(crate) fn repeated(list: Vec<Bytes>) -> Self {
        Self { list, next: AtomicUsize::new(0), repeated: true }
    }

    fn next(&self) -> Option<Bytes> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let at = if self.repeated { next % self.list.len() } else { next };
        self.list.get(at).cloned()
    }
}

/// What a run measured.
#[derive(Debug)]
pub(crate) struct LoadResult {
    /// Responses per second.
    pub(crate) rate: f64,
    /// From the first byte sent to the last byte received, in microseconds.
    latencies: Histogram<u64>,
    /// Answers that were not 2xx.
    pub(crate) refused: u64,
}

impl LoadResult {
    /// The latency that `quantile` of the answers did not exceed, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a run are exact")]
    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }

    /// How many answers there were.
    pub(crate) fn responses(&self) -> u64 {
        self.latencies.len()
    }
}

/// Connections over which much is sent that is not measured.
const MANY: usize = 64;
/// How long that may take.
const LONG: Duration = Duration::from_hours(1);

/// Sends each of `requests` once. Every answer has to be 2xx.
pub(crate) async fn all(address: SocketAddr, requests: Vec<Bytes>) -> anyhow::Result<LoadResult> {
    let measured = run(address, Requests::once(requests), MANY, LONG).await?;
    ensure!(measured.refused == 0, "{} requests were refused", measured.refused);
    Ok(measured)
}

/// Sends `requests` to `address` over `connections` at once, for `duration` at most.
pub(crate) async fn run(
    address: SocketAddr,
    requests: Requests,
    connections: usize,
    duration: Duration,
) -> anyhow::Result<LoadResult> {
    let (done, measured) = oneshot::channel();
    // Named, so that a profile shows what the generator itself takes.
    let thread = std::thread::Builder::new().name("load".to_owned());
    thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let measured = runtime
            .map_err(anyhow::Error::from)
            .and_then(|runtime| runtime.block_on(generate(address, requests, connections, duration)));
        // OK to ignore: the one that waits may have been canceled.
        let _ = done.send(measured);
    })?;
    measured.await?
}

async fn generate(
    address: SocketAddr,
    requests: Requests,
    connections: usize,
    duration: Duration,
) -> anyhow::Result<LoadResult> {
    let requests = Arc::new(requests);
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for stream in streams {
        running.spawn(converse(stream, requests.clone(), begun + duration));
    }
    let (mut latencies, mut refused) = (histogram(), 0);
    while let Some(ended) = running.join_next().await {
        let (its_latencies, its_refused) = ended??;
        latencies.add(its_latencies)?;
        refused += its_refused;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are exact")]
    let rate = latencies.len() as f64 / begun.elapsed().as_secs_f64();
    Ok(LoadResult { rate, latencies, refused })
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are valid")
}

/// Sends one request after another until `end`, and measures the answers.
async fn converse(
    mut stream: TcpStream,
    requests: Arc<Requests>,
    end: Instant,
) -> anyhow::Result<(Histogram<u64>, u64)> {
    let (mut latencies, mut refused) = (histogram(), 0);
    let mut received = Vec::with_capacity(16 << 10);
    while Instant::now() < end
        && let Some(request) = requests.next()
    {
        let sent = Instant::now();
        stream.write_all(&request).await?;
        received.clear();
        let status = loop {
            if stream.read_buf(&mut received).await? == 0 {
                bail!("the connection ended before the answer");
            }
            let answer = response::read(&received).map_err(|_| anyhow!("an answer is malformed"))?;
            if let Some((status, _length)) = answer {
                break status;
            }
        };
        latencies.record(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX))?;
        refused += u64::from(!(200..300).contains(&status));
    }
    Ok((latencies, refused))
}
