//! Notifications per second, to a receiver that answers at once.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use renderhook::domain::{Kind, NotificationType, Payload};
use renderhook::intake::{self, Observation, RecordRules};
use renderhook::runtime::{Clock, MIGRATIONS};
use renderhook_dev::standin::Project;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::Options;
use crate::environment::Environment;
use crate::pairs::median;
use crate::receiver::NotificationReceiver;
use crate::service::ServiceProcess;
use crate::{table, workload};

/// Renders that failed, each with one notification.
const RENDERS: usize = 5_000;
/// How many renders are recorded together.
const BATCH: usize = 500;
/// How often is checked whether all are delivered.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// How long it may take.
const LIMIT: Duration = Duration::from_mins(2);
/// A key of 32 bytes.
const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// What a run measured.
struct Posted {
    rate: f64,
    cpu_micros: f64,
    peak_mib: f64,
}

pub(super) async fn run(environment: &Environment, options: &Options) -> anyhow::Result<()> {
    let receiver = NotificationReceiver::start()?;
    let mut runs = Vec::new();
    for _ in 0..options.pairs {
        let url = environment.database("notifications").await?;
        record(&url).await?;
        environment.vacuum("notifications").await?;
        environment.checkpoint().await?;
        runs.push(post(environment, &url, &receiver).await?);
    }
    let of = |value: fn(&Posted) -> f64| table::count(median(runs.iter().map(value)));
    table::begin("Notifications", &["renders", "posted/s", "CPU µs each", "peak memory MiB"]);
    table::row(&[
        &table::count_usize(RENDERS),
        &of(|run| run.rate),
        &of(|run| run.cpu_micros),
        &of(|run| run.peak_mib),
    ]);
    println!("\nTarget: at least 1,000 per second.");
    Ok(())
}

/// Records failed renders, with notifications that are to be posted.
async fn record(url: &str) -> anyhow::Result<()> {
    let pool = PgPoolOptions::new().max_connections(1).connect(url).await?;
    MIGRATIONS.run(&pool).await?;
    let now = Clock::system().now();
    let mut observations = Vec::with_capacity(RENDERS);
    for number in 0..RENDERS {
        let mut project = Project::new(Kind::Video, workload::id("notify", number), now);
        project.status = Some("error".to_owned());
        let payload = Payload::from_details(project.payload().to_string().as_bytes()).context("not a project")?;
        observations.push(Observation::poll(Kind::Video, payload, now));
    }
    let posted = [NotificationType::Failed].into_iter().collect();
    let rules = RecordRules { posted, ..RecordRules::default() };
    for batch in observations.chunks(BATCH) {
        intake::record(&pool, now, batch, &rules).await?;
    }
    Ok(())
}

/// Starts the program, which finds what is due, and waits until all of it is delivered.
async fn post(environment: &Environment, url: &str, receiver: &NotificationReceiver) -> anyhow::Result<Posted> {
    let pool = PgPoolOptions::new().max_connections(1).connect(url).await?;
    let notify_url = format!("http://{}/hook", receiver.address);
    let settings = [("DOWNLOAD_CONCURRENCY", "0"), ("NOTIFY_URL", &notify_url), ("NOTIFY_SECRET", SECRET)];
    let service = ServiceProcess::renderhook(url, &environment.folder("notifications")?, &settings).await?;
    let begun = Instant::now();
    while pending(&pool).await? > 0 {
        ensure!(begun.elapsed() < LIMIT, "the notifications are not delivered in time");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let ended = Instant::now();
    let cpu = service.cpu_time()?;
    let (_, peak_mib) = service.memory_mib()?;
    service.stop().await?;
    let (first, count) = receiver.take().context("nothing was posted")?;
    ensure!(count == RENDERS, "{count} requests for {RENDERS} notifications");
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are exact")]
    let count = count as f64;
    Ok(Posted { rate: count / (ended - first).as_secs_f64(), cpu_micros: 1e6 * cpu.as_secs_f64() / count, peak_mib })
}

async fn pending(pool: &PgPool) -> sqlx::Result<i64> {
    // Through the index of what is due: it costs next to nothing.
    sqlx::query_scalar("SELECT count(*) FROM notifications WHERE due_at IS NOT NULL").fetch_one(pool).await
}
