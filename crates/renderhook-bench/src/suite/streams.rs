//! Streams and waiting callers while nothing happens, and how soon they learn of an event.

use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use renderhook::runtime::{Clock, raise_descriptor_limit};

use crate::environment::Environment;
use crate::held::HeldConnections;
use crate::load;
use crate::pairs::median;
use crate::service::ServiceProcess;
use crate::{cpu, table, workload};

/// Streams of all renders, and as many of one render each.
const STREAMS: usize = 5_000;
/// Callers of `?wait=`.
const WAITING: usize = 3_900;
/// How long they are watched: three heartbeats of each stream.
const IDLE: Duration = Duration::from_secs(30);
/// After how long the streams are all there, and what opening them took is over.
const CALM: Duration = Duration::from_secs(3);
/// How many more streams of all renders are watched for an event, beside those that are idle.
const WATCHED: usize = 100;
/// How many events are sent, one after another.
const EVENTS: usize = 5;
/// The first part of the renders' ids.
const RUN: &str = "streams";

pub(super) async fn run(environment: &Environment) -> anyhow::Result<()> {
    ensure!(raise_descriptor_limit() >= 16_384, "the hard limit on file descriptors is too low");
    let url = environment.database("streams").await?;
    let folder = environment.folder("streams")?;
    let service = ServiceProcess::renderhook(&url, &folder, &[("DOWNLOAD_CONCURRENCY", "0")]).await?;
    let now = Clock::system().now();
    let count = STREAMS.max(WAITING) + EVENTS;
    let events = (0..count).map(|number| workload::delivery(workload::started(RUN, number, now), now)).collect();
    load::all(service.address, events).await?;
    environment.vacuum("streams").await?;
    let (before, _) = service.memory_mib()?;
    table::begin("Streams and waiting callers", COLUMNS);
    idle_streams(environment, &service, before).await?;
    service.stop().await?;
    // A process of its own, because memory that was used once is kept.
    let service = ServiceProcess::renderhook(&url, &folder, &[("DOWNLOAD_CONCURRENCY", "0")]).await?;
    let (before, _) = service.memory_mib()?;
    waiting_callers(environment, &service, before).await?;
    service.stop().await?;
    println!("\nTargets: 10,000 streams below 300 MiB, and nearly no CPU.");
    Ok(())
}

const COLUMNS: &[&str] = &[
    "what",
    "open",
    "memory before, MiB",
    "memory, MiB",
    "CPU of a core: renderhook",
    "Postgres",
    "an event reaches all of them after, ms",
];

async fn idle_streams(environment: &Environment, service: &ServiceProcess, before: f64) -> anyhow::Result<()> {
    let of_all = (0..STREAMS).map(|_| stream("/events"));
    let of_one = (0..STREAMS).map(|number| stream(&format!("/renders/{}/events", workload::id(RUN, number))));
    let held = HeldConnections::streams(service.address, of_all.chain(of_one).collect()).await?;
    let idle = Idle::measure(environment, service).await?;
    let mut delays = Vec::new();
    for number in 0..EVENTS {
        // Streams that have seen an event are not counted again, so each event gets connections of its own.
        let watched =
            HeldConnections::streams(service.address, (0..WATCHED).map(|_| stream("/events")).collect()).await?;
        let failed = workload::failed(RUN, STREAMS.max(WAITING) + number, Clock::system().now());
        load::all(service.address, vec![workload::delivery(failed, Clock::system().now())]).await?;
        delays.push(watched.until_events(WATCHED).await?.as_secs_f64() * 1e3);
        drop(watched);
    }
    held.until_events(STREAMS).await?;
    ensure!(held.ended() == 0, "{} streams have ended", held.ended());
    idle.print("streams, half of them of one render", 2 * STREAMS, before, &format!("{:.0}", median(delays)));
    Ok(())
}

async fn waiting_callers(environment: &Environment, service: &ServiceProcess, before: f64) -> anyhow::Result<()> {
    let questions =
        (0..WAITING).map(|number| workload::get(&format!("/renders/{}?wait=60s", workload::id(RUN, number))));
    let held = HeldConnections::callers(service.address, questions.collect()).await?;
    let idle = Idle::measure(environment, service).await?;
    let now = Clock::system().now();
    let failed = (0..WAITING).map(|number| workload::delivery(workload::failed(RUN, number, now), now)).collect();
    load::all(service.address, failed).await?;
    let delay = held.until_answered(WAITING).await?.as_secs_f64() * 1e3;
    ensure!(held.ended() == 0, "{} callers were not answered", held.ended());
    idle.print(
        "callers of `?wait=60s`, a render each",
        WAITING,
        before,
        &format!("{delay:.0} (the last of {WAITING} events)"),
    );
    Ok(())
}

/// What a process used while nothing happened.
struct Idle {
    memory_mib: f64,
    service: f64,
    postgres: f64,
}

impl Idle {
    async fn measure(environment: &Environment, service: &ServiceProcess) -> anyhow::Result<Self> {
        tokio::time::sleep(CALM).await;
        let times = || -> anyhow::Result<_> { Ok((service.cpu_time()?, cpu::of_tree(environment.postgres_pid()?))) };
        let before = times()?;
        tokio::time::sleep(IDLE).await;
        let after = times()?;
        let share = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64();
        Ok(Self {
            memory_mib: service.memory_mib()?.0,
            service: share(before.0, after.0),
            postgres: share(before.1, after.1),
        })
    }

    fn print(&self, what: &str, count: usize, before: f64, delay: &str) {
        table::row(&[
            &what,
            &table::count_usize(count),
            &format!("{before:.0}"),
            &format!("{:.0}", self.memory_mib),
            &format!("{:.1} %", 100.0 * self.service),
            &format!("{:.1} %", 100.0 * self.postgres),
            &delay,
        ]);
    }
}

/// A request for a stream.
fn stream(path: &str) -> Bytes {
    let token = workload::TOKEN;
    let head = "host: renderhook.example\r\naccept: text/event-stream";
    format!("GET {path} HTTP/1.1\r\n{head}\r\nauthorization: Bearer {token}\r\n\r\n").into()
}
