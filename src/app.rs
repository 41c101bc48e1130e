//! Wires the parts of the service together.

use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::api::{self, Access, ApiState, FileServing, Health, LinkKeyCell, Metrics};
use crate::archive::{self, Downloader, Fetcher, Settler, Store};
use crate::config::Config;
use crate::http::{self, BodyReader};
use crate::intake::{self, AdviceLimiter, Receiver, Recorder};
use crate::notify::Notifier;
use crate::runtime::{self, Clock, Database, LogEvent, Shutdown, Wakeups};
use crate::upstream::{self, Deleter, Reconciler, Throttle};

/// Connects to the database, waiting for it if necessary, and applies missing migrations.
pub async fn prepare(database: &Database) -> anyhow::Result<()> {
    database.connect_at_start().await?;
    database.detect_pooler().await?;
    database.migrate().await.context("cannot apply the migrations")?;
    Ok(())
}

/// Runs the service on `listener` until `shutdown` is requested, then drains it. Returns an error if a part failed.
pub async fn run(
    config: Config,
    database: Database,
    listener: TcpListener,
    clock: Clock,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    log_warnings(&config);
    let wakeups = Arc::new(Wakeups::default());
    let downloader = Arc::new(Downloader {
        database: database.clone(),
        settler: Settler::new(config.notify.posted),
        store: config.store.clone(),
        fetcher: Fetcher::new(config.downloads.guard, config.downloads.max_bytes)
            .context("cannot build the HTTP client")?,
        clock: clock.clone(),
        lease: config.downloads.lease,
        max_attempts: config.downloads.max_attempts,
        renews: config.upstream.magic_hour.is_some(),
        deletes: config.upstream.delete_after_store,
    });
    let own_descriptors = 128 + 8 * u64::try_from(config.downloads.concurrency).unwrap_or(u64::MAX);
    let limits = config.http_limits.fit_descriptors(runtime::raise_descriptor_limit(), own_descriptors);
    let bodies = BodyReader::new(&limits);
    let recorder = Recorder::start(database.clone(), clock.clone(), config.notify.posted, config.queue_limits);
    let router = api::router(
        Arc::new(Receiver {
            verifier: config.verifier,
            database: database.clone(),
            recorder: recorder.clone(),
            clock: clock.clone(),
            bodies: bodies.clone(),
            max_body_bytes: config.max_body_bytes,
            advice: AdviceLimiter::default(),
        }),
        Arc::new(ApiState {
            database: database.clone(),
            store: config.store.clone(),
            files: FileServing {
                mode: config.files.serve,
                public_url: config.files.public_url,
                link_key: LinkKeyCell::default(),
            },
            clock: clock.clone(),
            wakeups: wakeups.clone(),
            posted: config.notify.posted,
            shutdown: shutdown.clone(),
            bodies,
        }),
        Arc::new(Metrics { database: database.clone(), clock: clock.clone() }),
        Arc::new(Health { database: database.clone(), shutdown: shutdown.clone() }),
        Arc::new(config.access),
        &limits,
    );
    info!(
        event = %LogEvent::ServiceStarted, address = %address, version = env!("CARGO_PKG_VERSION"),
        webhook.secrets = config.webhook_secrets, "listening"
    );

    let mut parts = Parts { running: JoinSet::new(), shutdown: shutdown.clone() };
    let stop = shutdown.clone();
    parts.start(async move { http::serve(listener, router, limits, &stop).await });
    let (stop, woken) = (shutdown.clone(), wakeups.clone());
    parts.start(async move { archive::run_worker(downloader, config.downloads.concurrency, &woken, &stop).await });
    let (stop, base, heard) = (shutdown.clone(), database.clone(), wakeups.clone());
    parts.start(async move { heard.listen(&base, &stop).await });
    let (stop, base, time) = (shutdown.clone(), database.clone(), clock.clone());
    parts.start(async move { intake::run_retention(&base, &time, config.event_retention, &stop).await });
    let (stop, base, time) = (shutdown.clone(), database.clone(), clock.clone());
    parts.start(async move { archive::watch_backlog(&base, &time, &stop).await });
    if let Some(client) = config.notify.client {
        let (database, store, clock, max_age) =
            (database.clone(), config.store.clone(), clock.clone(), config.notify.max_age);
        let notifier = Notifier { database, store, clock, client, max_age };
        let (stop, woken) = (shutdown.clone(), wakeups.clone());
        parts.start(async move { Box::pin(notifier.run(&woken, &stop)).await });
    }
    if let Some(magic_hour) = config.upstream.magic_hour {
        let throttle = Throttle::new(database.clone(), clock.clone(), config.upstream.poll_interval);
        let reconciler = Arc::new(Reconciler {
            database: database.clone(),
            recorder: recorder.clone(),
            magic_hour: magic_hour.clone(),
            throttle: throttle.clone(),
            clock: clock.clone(),
            schedule: config.upstream.schedule,
            wakeups,
        });
        let stop = shutdown.clone();
        parts.start(async move { reconciler.run(&stop).await });
        let (stop, base, time) = (shutdown.clone(), database.clone(), clock.clone());
        parts.start(async move { upstream::watch_missing_webhooks(&base, &time, &stop).await });
        if config.upstream.delete_after_store {
            let deleter = Deleter { database, recorder, magic_hour, throttle, store: config.store.clone(), clock };
            let stop = shutdown.clone();
            parts.start(async move { deleter.run(&stop).await });
        }
    }
    shutdown.tasks().spawn(probe(config.store, shutdown.clone()));
    parts.supervise().await
}

/// Logs settings that are valid but risky or probably mistakes.
fn log_warnings(config: &Config) {
    if matches!(config.access, Access::Anyone) {
        warn!(event = %LogEvent::AuthDisabled, "API_TOKENS is none: anyone who reaches this address may read every render");
    }
    for warning in &config.warnings {
        warn!(event = %LogEvent::ConfigWarning, setting = warning.name, "{}: {}", warning.name, warning.problem);
    }
}

/// Logs at startup whether the store can be written. A failing store does not stop the service: events are still accepted,
/// and downloads are retried.
async fn probe(store: Store, shutdown: Shutdown) {
    match shutdown.forced().run_until_cancelled(store.probe()).await {
        Some(Ok(())) => info!(event = %LogEvent::StoreReady, "the store can be written"),
        Some(Err(error)) => {
            error!(event = %LogEvent::StoreFailed, error = %error, "the store cannot be written: check STORAGE_URL and its credentials");
        }
        None => {}
    }
}

/// The tasks that run as long as the service does.
struct Parts {
    running: JoinSet<()>,
    shutdown: Shutdown,
}

impl Parts {
    fn start(&mut self, part: impl Future<Output = ()> + Send + 'static) {
        // Tracked, so that draining also waits for what a part finishes after it was stopped.
        self.running.spawn(self.shutdown.tasks().track_future(part));
    }

    /// Waits for the stop request, then drains. If a part ends earlier, which is a bug, the service stops: otherwise it would
    /// look healthy while doing only part of its work.
    async fn supervise(mut self) -> anyhow::Result<()> {
        let failed = tokio::select! {
            () = self.shutdown.wait_for_stop() => None,
            ended = self.running.join_next() => (!self.shutdown.is_stopping()).then_some(ended),
        };
        if let Some(ended) = &failed {
            error!(event = %LogEvent::ServiceStopping, error = ?ended, "a part of the service ended by itself: stopping");
        } else {
            info!(event = %LogEvent::ServiceStopping, "stopping: finishing requests, and returning downloads to the queue");
        }
        self.shutdown.stop();
        let drained = self.shutdown.drain().await;
        self.running.shutdown().await;
        info!(event = %LogEvent::ServiceStopped, drained, "stopped");
        if failed.is_some() {
            bail!("a part of the service ended by itself");
        }
        Ok(())
    }
}
