//! Recorded events per second, beside one transaction of three plain inserts per event, and beside the guide's receiver.

use std::path::PathBuf;
use std::time::Duration;

use renderhook::runtime::Clock;
use sqlx::{Connection, PgConnection};

use super::Options;
use crate::environment::Environment;
use crate::load::{self, LoadResult, Requests};
use crate::pairs::{median, ratio};
use crate::pgbench::PgbenchResult;
use crate::service::ServiceProcess;
use crate::{cpu, guide, pgbench, table, workload};

/// The tables of the floor and of the guide's receiver. Each has a primary key and no other index.
const FLOOR_TABLES: &str = "
    CREATE TABLE deliveries (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        render_id text NOT NULL,
        received_at timestamptz NOT NULL,
        body bytea NOT NULL
    );
    CREATE TABLE renders (
        id text PRIMARY KEY,
        status text NOT NULL,
        updated_at timestamptz NOT NULL
    );
    CREATE TABLE transitions (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        render_id text NOT NULL,
        status text NOT NULL,
        at timestamptz NOT NULL
    );";

/// What the floor does for each event. 850 bytes are the mean length of the events' bodies.
const FLOOR: &str = "
    \\set id random(1, 9000000000000000)
    BEGIN;
    INSERT INTO deliveries (render_id, received_at, body) VALUES (:id::text, now(), convert_to(repeat('x', 850), 'UTF8'));
    INSERT INTO renders (id, status, updated_at) VALUES (:id::text, 'complete', now());
    INSERT INTO transitions (render_id, status, at) VALUES (:id::text, 'complete', now());
    COMMIT;";

/// What is measured, and what it is compared with.
struct EventsBench<'a> {
    environment: &'a Environment,
    duration: Duration,
    service: ServiceProcess,
    guide: Option<ServiceProcess>,
    floor_url: String,
    folder: PathBuf,
}

/// One run of each.
struct Runs {
    events: LoadResult,
    floor: PgbenchResult,
    guide: Option<LoadResult>,
    /// CPU microseconds per event.
    cpu: Cpu,
}

/// CPU microseconds per event.
struct Cpu {
    service: f64,
    postgres: f64,
}

pub(super) async fn run(environment: &Environment, options: &Options) -> anyhow::Result<()> {
    let (floor_url, guide_url) = (environment.database("floor").await?, environment.database("guide").await?);
    for url in [&floor_url, &guide_url] {
        sqlx::raw_sql(FLOOR_TABLES).execute(&mut PgConnection::connect(url).await?).await?;
    }
    let url = environment.database("events").await?;
    let no_downloads = [("DOWNLOAD_CONCURRENCY", "0")];
    let bench = EventsBench {
        environment,
        duration: options.duration(),
        service: ServiceProcess::renderhook(&url, &environment.folder("events")?, &no_downloads).await?,
        guide: guide::start(&guide_url, &environment.folder("guide")?).await?,
        floor_url,
        folder: environment.folder("floor")?,
    };
    table::begin("Events", COLUMNS);
    for &connections in &options.connections {
        let mut runs = Vec::new();
        for pair in 0..options.pairs {
            runs.push(bench.runs(&format!("c{connections}p{pair}"), connections).await?);
        }
        print(connections, &runs, bench.service.memory_mib()?);
    }
    println!(
        "\nTargets: with 128 connections at least 2 times the floor, at least 7 times the guide's receiver, p99 at most \
         50 ms and no refusal; with one connection a p50 of at most 2 times the floor's."
    );
    bench.service.stop().await?;
    if let Some(guide) = bench.guide {
        guide.stop().await?;
    }
    print_weight(&url).await
}

impl EventsBench<'_> {
    async fn runs(&self, name: &str, connections: usize) -> anyhow::Result<Runs> {
        self.environment.checkpoint().await?;
        let floor = pgbench::run(&self.floor_url, FLOOR, connections, self.duration, &self.folder).await?;
        let guide = match &self.guide {
            Some(guide) => {
                self.environment.checkpoint().await?;
                Some(send(guide, name, connections, self.duration).await?)
            }
            None => None,
        };
        self.environment.checkpoint().await?;
        let cpu_times =
            || -> anyhow::Result<_> { Ok((self.service.cpu_time()?, cpu::of_tree(self.environment.postgres_pid()?))) };
        let before = cpu_times()?;
        let events = send(&self.service, name, connections, self.duration).await?;
        let after = cpu_times()?;
        #[expect(clippy::cast_precision_loss, reason = "counts of a run are exact")]
        let per_event = |before: Duration, after: Duration| {
            1e6 * after.saturating_sub(before).as_secs_f64() / events.responses() as f64
        };
        let cpu = Cpu { service: per_event(before.0, after.0), postgres: per_event(before.1, after.1) };
        Ok(Runs { events, floor, guide, cpu })
    }
}

/// Sends events of new renders, prepared beforehand.
async fn send(
    service: &ServiceProcess,
    run: &str,
    connections: usize,
    duration: Duration,
) -> anyhow::Result<LoadResult> {
    let now = Clock::system().now();
    let seconds = usize::try_from(duration.as_secs())?;
    let per_second = if connections == 1 { workload::FASTEST_ALONE } else { workload::FASTEST };
    let events = workload::events(run, per_second * seconds, now);
    let requests = events.into_iter().map(|event| workload::delivery(event, now)).collect();
    load::run(service.address, Requests::once(requests), connections, duration).await
}

const COLUMNS: &[&str] = &[
    "connections",
    "floor/s",
    "guide/s",
    "events/s",
    "ratio to the floor",
    "ratio to the guide",
    "floor p50 ms",
    "p50 ms",
    "p99 ms",
    "refused",
    "CPU µs per event: renderhook",
    "Postgres",
    "memory MiB",
];

fn print(connections: usize, runs: &[Runs], (now, peak): (f64, f64)) {
    let to_floor: Vec<_> = runs.iter().map(|run| (run.events.rate, run.floor.rate)).collect();
    let to_guide: Option<Vec<_>> = runs.iter().map(|run| Some((run.events.rate, run.guide.as_ref()?.rate))).collect();
    let guide_rate = to_guide.as_ref().map(|pairs| median(pairs.iter().map(|(_, guide)| *guide)));
    table::row(&[
        &connections,
        &table::count(median(runs.iter().map(|run| run.floor.rate))),
        &guide_rate.map_or_else(|| "-".to_owned(), table::count),
        &table::count(median(runs.iter().map(|run| run.events.rate))),
        &ratio(&to_floor),
        &to_guide.map_or_else(|| "-".to_owned(), |pairs| ratio(&pairs)),
        &format!("{:.2}", median(runs.iter().map(|run| run.floor.p50_ms))),
        &format!("{:.2}", median(runs.iter().map(|run| run.events.latency_ms(0.5)))),
        &format!("{:.1}", median(runs.iter().map(|run| run.events.latency_ms(0.99)))),
        &runs.iter().map(|run| run.events.refused).sum::<u64>(),
        &format!("{:.0}", median(runs.iter().map(|run| run.cpu.service))),
        &format!("{:.0}", median(runs.iter().map(|run| run.cpu.postgres))),
        &format!("{now:.0} (peak {peak:.0})"),
    ]);
}

/// Prints what a million deliveries and their renders weigh.
async fn print_weight(url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let deliveries: i64 = sqlx::query_scalar("SELECT count(*) FROM deliveries").fetch_one(&mut connection).await?;
    let tables: Vec<(String, i64)> = sqlx::query_as(
        "SELECT coalesce(pg_partition_root(oid), oid)::regclass::text, sum(pg_total_relation_size(oid))::int8
         FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
         GROUP BY 1 ORDER BY 2 DESC",
    )
    .fetch_all(&mut connection)
    .await?;
    table::begin("A million events weigh, with indexes", &["table", "MiB"]);
    #[expect(clippy::cast_precision_loss, reason = "sizes are exact enough")]
    let mib = |bytes: i64| bytes as f64 / deliveries as f64 * 1e6 / f64::from(1 << 20);
    for (name, bytes) in tables.iter().filter(|(_, bytes)| mib(*bytes) >= 1.0) {
        table::row(&[name, &table::count(mib(*bytes))]);
    }
    table::row(&[&"all", &table::count(mib(tables.iter().map(|(_, bytes)| bytes).sum()))]);
    Ok(())
}
