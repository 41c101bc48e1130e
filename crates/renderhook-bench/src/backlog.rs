//! Files that wait in the database, and the program that stores them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use renderhook::domain::{Kind, Payload};
use renderhook::intake::{self, Observation, RecordRules};
use renderhook::runtime::{Clock, MIGRATIONS};
use renderhook_dev::standin::Project;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use url::Url;

use crate::file_server::NoiseServer;
use crate::service::ServiceProcess;

/// How many renders are recorded together.
const BATCH: usize = 500;
/// How often is checked whether all files are stored. Each look costs Postgres half a millisecond.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long it may take.
const LIMIT: Duration = Duration::from_mins(5);

/// A database with renderhook's tables.
#[derive(Debug)]
pub(crate) struct BenchDatabase {
    url: String,
    pool: PgPool,
}

/// What storing a backlog took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    /// From the first request for a file until the database says that all of them are stored.
    pub(crate) seconds: f64,
    /// The most memory that the program had, in MiB.
    pub(crate) peak_mib: f64,
    /// The CPU time that the program used, in seconds.
    pub(crate) cpu_seconds: f64,
}

impl BenchDatabase {
    /// Makes the tables in the database at `url`.
    pub(crate) async fn prepare(url: String) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(1).connect(&url).await?;
        MIGRATIONS.run(&pool).await?;
        Ok(Self { url, pool })
    }

    /// Records complete renders with these files.
    pub(crate) async fn record(&self, renders: Vec<(String, Vec<Url>)>) -> anyhow::Result<()> {
        let now = Clock::system().now();
        let mut observations = Vec::with_capacity(renders.len());
        for (id, downloads) in renders {
            let mut project = Project::new(Kind::Video, id, now);
            (project.status, project.downloads) = (Some("complete".to_owned()), downloads);
            let payload = Payload::from_details(project.payload().to_string().as_bytes()).context("not a project")?;
            observations.push(Observation::poll(Kind::Video, payload, now));
        }
        for batch in observations.chunks(BATCH) {
            intake::record(&self.pool, now, batch, &RecordRules::default()).await?;
        }
        Ok(())
    }

    /// Starts the program, which finds the backlog, and waits until all of it is stored.
    pub(crate) async fn store(
        &self,
        files: &NoiseServer,
        folder: &Path,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Stored> {
        let before = self.stored().await?;
        let waiting = self.waiting().await?;
        let settings = [settings, &[("DOWNLOAD_ALLOW_PRIVATE", "true")]].concat();
        let service = ServiceProcess::renderhook(&self.url, folder, &settings).await?;
        let begun = Instant::now();
        while self.waiting().await? > 0 {
            ensure!(begun.elapsed() < LIMIT, "the files are not stored in time");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        let ended = Instant::now();
        let (_, peak_mib) = service.memory_mib()?;
        let cpu_seconds = service.cpu_time()?.as_secs_f64();
        service.stop().await?;
        let stored = self.stored().await? - before;
        ensure!(stored == waiting, "{stored} of {waiting} files are stored");
        let seconds = (ended - files.take_first_request()?).as_secs_f64();
        Ok(Stored { seconds, peak_mib, cpu_seconds })
    }

    async fn waiting(&self) -> sqlx::Result<i64> {
        // Through the index of what is due: it costs next to nothing.
        sqlx::query_scalar("SELECT count(*) FROM downloads WHERE due_at IS NOT NULL").fetch_one(&self.pool).await
    }

    async fn stored(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar("SELECT count(*) FROM downloads WHERE state = 'stored'").fetch_one(&self.pool).await
    }
}
