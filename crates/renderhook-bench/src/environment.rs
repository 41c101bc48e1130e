//! What every measurement stands on: a Postgres with its default settings, and folders on the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow};
use private_postgres::{Cluster, Durability};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

/// Where builds, results and temporary folders are.
const TARGET: &str = "target";

/// The settings of `auto_explain`, which comes with Postgres.
const PLAN_SETTINGS: [&str; 4] = [
    "session_preload_libraries = 'auto_explain'",
    "auto_explain.log_min_duration = 0",
    "auto_explain.log_analyze = on",
    "auto_explain.log_buffers = on",
];

/// A running Postgres of its own, thrown away at the end.
#[derive(Debug)]
pub(crate) struct Environment {
    cluster: Cluster,
    folder: TempDir,
}

impl Environment {
    /// Starts Postgres with the settings of a fresh installation, but for `max_connections`: 128 clients need more
    /// connections than the default.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let parent = Path::new(TARGET).join("bench");
        fs::create_dir_all(&parent)?;
        let folder = tempfile::tempdir_in(parent)?;
        let cluster = Cluster::start(&folder.path().join("postgres"), Durability::Durable).await?;
        let mut connection = PgConnection::connect(&cluster.url("postgres")).await?;
        sqlx::raw_sql("ALTER SYSTEM SET max_connections = 200").execute(&mut connection).await?;
        cluster.stop().await?;
        let cluster = Cluster::start(&folder.path().join("postgres"), Durability::Durable).await?;
        Ok(Self { cluster, folder })
    }

    /// Stops Postgres and removes everything.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.cluster.stop().await?;
        self.folder.close().context("cannot remove the folder")
    }

    /// A new database, and its URL.
    pub(crate) async fn database(&self, name: &str) -> anyhow::Result<String> {
        let mut connection = PgConnection::connect(&self.cluster.url("postgres")).await?;
        let create = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE); CREATE DATABASE {name}");
        for statement in create.split(';') {
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await?;
        }
        Ok(self.cluster.url(name))
    }

    /// Collects what autovacuum would collect within its next minute.
    pub(crate) async fn vacuum(&self, database: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.cluster.url(database)).await?;
        sqlx::raw_sql("VACUUM ANALYZE").execute(&mut connection).await?;
        Ok(())
    }

    /// Writes what is dirty to the disk, so that the next run does not pay for the last one.
    pub(crate) async fn checkpoint(&self) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.cluster.url("postgres")).await?;
        sqlx::raw_sql("CHECKPOINT").execute(&mut connection).await?;
        Ok(())
    }

    /// A new folder on the disk.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.path().canonicalize()?.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// The process id of Postgres.
    pub(crate) fn postgres_pid(&self) -> anyhow::Result<u32> {
        let file = fs::read_to_string(self.folder.path().join("postgres/data/postmaster.pid"))?;
        let first = file.lines().next().context("postmaster.pid is empty")?;
        Ok(first.trim().parse()?)
    }

    /// Has Postgres log the plan of every statement of later connections to this database.
    pub(crate) async fn log_plans(&self, database: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.cluster.url("postgres")).await?;
        for setting in PLAN_SETTINGS {
            let alter = format!("ALTER DATABASE {database} SET {setting}");
            sqlx::raw_sql(AssertSqlSafe(alter)).execute(&mut connection).await?;
        }
        Ok(())
    }

    /// What Postgres has logged.
    pub(crate) fn postgres_log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("postgres/server.log"))?)
    }

    /// One line about the machine.
    pub(crate) fn machine(&self) -> anyhow::Result<String> {
        let cores = std::thread::available_parallelism()?;
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() >> 20;
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(format!(
            "{cores} cores of an {}, {memory} GiB of memory, Linux {}, Postgres {}; {} B synced in {} µs",
            processor.trim_start_matches([' ', '\t', ':']).trim(),
            kernel.trim(),
            self.cluster.version(),
            8192,
            self.sync_micros()?,
        ))
    }

    /// How long the disk takes to have a block for sure: the median of 200.
    fn sync_micros(&self) -> anyhow::Result<u128> {
        use std::io::Write as _;
        let path = self.folder.path().join("sync");
        let mut file = fs::File::create(&path)?;
        let mut times = Vec::new();
        for _ in 0..200 {
            let begun = std::time::Instant::now();
            file.write_all(&[0; 8192])?;
            file.sync_data()?;
            times.push(begun.elapsed().as_micros());
        }
        fs::remove_file(path)?;
        times.sort_unstable();
        Ok(times[times.len() / 2])
    }
}

/// The path of a program that came with Postgres. Some installations keep their clients apart, in the `PATH`.
pub(crate) fn postgres_program(name: &str) -> PathBuf {
    let beside_the_server = std::env::var_os("PG_BIN_DIR").map(|folder| Path::new(&folder).join(name));
    beside_the_server.filter(|path| path.exists()).unwrap_or_else(|| name.into())
}

/// The path of a release build.
pub(crate) fn release(name: &str) -> anyhow::Result<PathBuf> {
    let program = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| TARGET.into(), PathBuf::from);
    program.join("release").join(name).canonicalize().with_context(|| format!("{name} is not built: run scripts/bench"))
}

/// What a program prints, if it succeeds.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        return Err(anyhow!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8(output.stdout)?)
}
