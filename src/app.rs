//! Wiring: the one place where the parts meet.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tracing::{error, info, warn};

use crate::api;
use crate::clock::Clock;
use crate::config::{Config, Tokens};
use crate::database::Database;
use crate::deletion::Deleter;
use crate::download::Downloader;
use crate::fetch::Fetcher;
use crate::health::Health;
use crate::log::LogEvent;
use crate::receive::Receiver;
use crate::renders::Renders;
use crate::renewal::Renewer;
use crate::server;
use crate::shutdown::Shutdown;
use crate::wakeups::Wakeups;
use crate::worker;

/// How long a database that is not there yet is waited for at start.
const DATABASE_AT_START: Duration = Duration::from_mins(1);

/// Connects to the database and applies the migrations, and waits a while for one that is still starting.
pub async fn prepare(database: &Database) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + DATABASE_AT_START;
    let mut gap = Duration::from_millis(100);
    loop {
        let error = match database.migrate().await {
            Ok(()) => return Ok(()),
            Err(sqlx::migrate::MigrateError::Execute(error)) if tokio::time::Instant::now() < deadline => error,
            Err(error) => return Err(error).context("cannot apply the migrations to DATABASE_URL"),
        };
        warn!(event = %LogEvent::DatabaseLost, error = %error, "waiting for the database");
        tokio::time::sleep(gap).await;
        gap = (gap * 2).min(Duration::from_secs(5));
    }
}

/// Runs the service on `listener` until `shutdown`, then drains it. An error means that a part of it failed.
pub async fn run(
    config: Config,
    database: Database,
    listener: TcpListener,
    clock: Clock,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    if matches!(config.tokens, Tokens::Off) {
        warn!(event = %LogEvent::ServiceStarted, "API_TOKENS is none: anyone who reaches this address may read every render");
    }
    let wakeups = Arc::new(Wakeups::default());
    let downloader = Arc::new(Downloader {
        database: database.clone(),
        store: config.store.clone(),
        fetcher: Fetcher::new(config.guard, config.download_max_bytes).context("cannot build the HTTP client")?,
        clock: clock.clone(),
        lease: config.download_lease,
        max_attempts: config.download_max_attempts,
        renews: config.magic_hour.is_some(),
        deletes: config.delete_after_store,
    });
    let router = api::router(
        Arc::new(Receiver {
            verifier: config.verifier,
            database: database.clone(),
            clock: clock.clone(),
            max_body_bytes: config.max_body_bytes,
        }),
        Arc::new(Renders {
            database: database.clone(),
            store: config.store.clone(),
            clock: clock.clone(),
            wakeups: wakeups.clone(),
            shutdown: shutdown.clone(),
        }),
        Arc::new(Health { database: database.clone(), shutdown: shutdown.clone() }),
        Arc::new(config.tokens),
    );
    info!(event = %LogEvent::ServiceStarted, address = %address, version = env!("CARGO_PKG_VERSION"), "listening");

    let mut parts = tokio::task::JoinSet::new();
    parts.spawn({
        let shutdown = shutdown.clone();
        async move { server::serve(listener, router, &shutdown).await }
    });
    parts.spawn({
        let (shutdown, wakeups) = (shutdown.clone(), wakeups.clone());
        async move { worker::run(downloader, config.download_concurrency, &wakeups, &shutdown).await }
    });
    parts.spawn({
        let (shutdown, database) = (shutdown.clone(), database.clone());
        async move { wakeups.listen(&database, &shutdown).await }
    });
    if let Some(magic_hour) = config.magic_hour {
        let renewer = Renewer { database: database.clone(), magic_hour: magic_hour.clone(), clock: clock.clone() };
        let stop = shutdown.clone();
        parts.spawn(async move { renewer.run(&stop).await });
        let deleter = Deleter { database, magic_hour, store: config.store, clock };
        let stop = shutdown.clone();
        parts.spawn(async move { deleter.run(&stop).await });
    }
    attend(parts, &shutdown).await
}

/// Waits until it is time to stop. A part that ends before is a defect: better no service than one that looks alive and
/// does half of its work.
async fn attend(mut parts: tokio::task::JoinSet<()>, shutdown: &Shutdown) -> anyhow::Result<()> {
    let failed = tokio::select! {
        () = shutdown.stopping() => None,
        ended = parts.join_next() => (!shutdown.is_stopping()).then_some(ended),
    };
    if let Some(ended) = &failed {
        error!(event = %LogEvent::ServiceStopping, error = ?ended, "a part of the service ended by itself: stopping");
    } else {
        info!(event = %LogEvent::ServiceStopping, "stopping: finishing what is under way");
    }
    shutdown.stop();
    let drained = shutdown.drained().await;
    parts.shutdown().await;
    info!(event = %LogEvent::ServiceStopped, drained, "stopped");
    if failed.is_some() {
        bail!("a part of the service ended by itself");
    }
    Ok(())
}
