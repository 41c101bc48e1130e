//! `GET /renders/{id}` beside a select by primary key, of the same rows.

use renderhook::runtime::Clock;

use super::Options;
use crate::environment::Environment;
use crate::load::{self, LoadResult, Requests};
use crate::pairs::{median, ratio};
use crate::pgbench::PgbenchResult;
use crate::service::ServiceProcess;
use crate::{pgbench, table, workload};

/// How many renders are read at random.
const RENDERS: usize = 20_000;
/// Connections of both.
const CONNECTIONS: usize = 32;
/// The first part of the renders' ids.
const RUN: &str = "reads";

pub(super) async fn run(environment: &Environment, options: &Options) -> anyhow::Result<()> {
    let url = environment.database("reads").await?;
    let folder = environment.folder("reads")?;
    let service = ServiceProcess::renderhook(&url, &folder, &[("DOWNLOAD_CONCURRENCY", "0")]).await?;
    let now = Clock::system().now();
    let events = (0..RENDERS).map(|number| workload::delivery(workload::completed(RUN, number, now), now)).collect();
    load::all(service.address, events).await?;
    environment.vacuum("reads").await?;
    let questions = || {
        let paths = (0..RENDERS).map(|number| number * 7919 % RENDERS).map(|number| workload::id(RUN, number));
        Requests::repeated(paths.map(|id| workload::get(&format!("/renders/{id}"))).collect())
    };
    // The number is in the id, filled up with zeros.
    let floor = format!(
        "\\set number random(0, {})\nSELECT * FROM renders WHERE id = '{RUN}-' || lpad(:number::text, {}, '0');",
        RENDERS - 1,
        workload::id(RUN, 0).len() - RUN.len() - 1,
    );
    let mut pairs = Vec::new();
    for _ in 0..options.pairs {
        let floor = pgbench::run(&url, &floor, CONNECTIONS, options.duration(), &folder).await?;
        let reads = load::run(service.address, questions(), CONNECTIONS, options.duration()).await?;
        pairs.push((reads, floor));
    }
    service.stop().await?;
    print(&pairs);
    Ok(())
}

fn print(pairs: &[(LoadResult, PgbenchResult)]) {
    table::begin("Reads", &["connections", "select/s", "GET /renders/{id} /s", "ratio", "p50 ms", "p99 ms", "refused"]);
    let ratios: Vec<_> = pairs.iter().map(|(reads, floor)| (reads.rate, floor.rate)).collect();
    table::row(&[
        &CONNECTIONS,
        &table::count(median(pairs.iter().map(|(_, floor)| floor.rate))),
        &table::count(median(pairs.iter().map(|(reads, _)| reads.rate))),
        &ratio(&ratios),
        &format!("{:.2}", median(pairs.iter().map(|(reads, _)| reads.latency_ms(0.5)))),
        &format!("{:.1}", median(pairs.iter().map(|(reads, _)| reads.latency_ms(0.99)))),
        &pairs.iter().map(|(reads, _)| reads.refused).sum::<u64>(),
    ]);
}
