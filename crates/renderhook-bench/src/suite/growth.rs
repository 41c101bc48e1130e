//! The same measurements with more and more renders: nothing may grow with them.

use std::time::Duration;

use renderhook::runtime::Clock;

use super::Options;
use crate::environment::Environment;
use crate::load::{self, Requests};
use crate::service::ServiceProcess;
use crate::{table, workload};

/// The requests that must stay fast, beside `GET /renders/{id}`: every filter of the list, with many matches and with none.
const LISTS: &[&str] = &[
    "/renders",
    "/renders?status=complete",
    "/renders?status=rendering",
    "/renders?status=canceled",
    "/renders?kind=video",
    "/renders?kind=audio",
    "/renders?archive=pending",
    "/renders?archive=partial",
    "/renders?archive=failed",
    "/renders?archive=awaiting_urls",
    "/renders?archive=stored",
    "/renders?external_id=none",
    "/renders?kind=audio&status=rendering&archive=failed",
    "/metrics",
];
/// How often each is requested.
const REPETITIONS: usize = 20;
/// The most milliseconds that the median may take.
const TARGET_MS: f64 = 20.0;
/// How many events are prepared at once while the tables are filled.
const FILL: usize = 20_000;
const CONNECTIONS: usize = 32;
const RUN: &str = "growth";

/// Names of measurements, and for each a figure per size.
type Figures = Vec<(String, Vec<String>)>;

pub(super) async fn run(environment: &Environment, options: &Options) -> anyhow::Result<()> {
    let url = environment.database(RUN).await?;
    let folder = environment.folder(RUN)?;
    let service = ServiceProcess::renderhook(&url, &folder, &[("DOWNLOAD_CONCURRENCY", "0")]).await?;
    let mut figures = Figures::new();
    let mut filled = 0;
    for &renders in &options.renders {
        fill(&service, filled..renders).await?;
        filled = renders;
        environment.vacuum(RUN).await?;
        environment.checkpoint().await?;
        measure(&service, renders, options.duration(), &mut figures).await?;
    }
    service.stop().await?;
    let sizes = options.renders.iter().map(|&renders| format!("{} renders", table::count_usize(renders)));
    let columns: Vec<_> = std::iter::once(String::new()).chain(sizes).collect();
    table::begin("Growth", &columns.iter().map(String::as_str).collect::<Vec<_>>());
    for (name, values) in &figures {
        println!("| {name} | {} |", values.join(" | "));
    }
    println!("\nLists and metrics: the median of {REPETITIONS} requests; the target is {TARGET_MS} ms.");
    Ok(())
}

/// Nine of ten renders are complete, one is rendering.
async fn fill(service: &ServiceProcess, mut numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
    while !numbers.is_empty() {
        let now = Clock::system().now();
        let event = |number| match number % 10 {
            0 => workload::started(RUN, number, now),
            _ => workload::completed(RUN, number, now),
        };
        let events = numbers.by_ref().take(FILL).map(|number| workload::delivery(event(number), now));
        load::all(service.address, events.collect()).await?;
    }
    Ok(())
}

async fn measure(
    service: &ServiceProcess,
    renders: usize,
    duration: Duration,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let now = Clock::system().now();
    let seconds = usize::try_from(duration.as_secs())?;
    let events = workload::events(&format!("g{renders}"), seconds * workload::FASTEST, now);
    let events = events.into_iter().map(|event| workload::delivery(event, now)).collect();
    let events = load::run(service.address, Requests::once(events), CONNECTIONS, duration).await?;
    push(figures, "events/s", table::count(events.rate));
    // Prime, so that reads are spread over all of them.
    let ids = (0..FILL).map(|number| workload::id(RUN, number * 7919 % renders));
    let reads = Requests::repeated(ids.map(|id| workload::get(&format!("/renders/{id}"))).collect());
    let reads = load::run(service.address, reads, CONNECTIONS, duration).await?;
    push(figures, "`GET /renders/{id}` /s", table::count(reads.rate));
    for &path in LISTS {
        let requests = Requests::once(vec![workload::get(path); REPETITIONS]);
        let measured = load::run(service.address, requests, 1, duration).await?;
        let note = if measured.refused > 0 { " (refused)" } else { "" };
        push(figures, &format!("`{path}` ms"), format!("{:.1}{note}", measured.latency_ms(0.5)));
    }
    Ok(())
}

fn push(figures: &mut Figures, name: &str, figure: String) {
    match figures.iter_mut().find(|(known, _)| known == name) {
        Some((_, values)) => values.push(figure),
        None => figures.push((name.to_owned(), vec![figure])),
    }
}
