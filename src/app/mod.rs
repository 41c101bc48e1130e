//! Wires the parts of the service together: the only place where all of them meet.

mod service;
mod tasks;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tracing::{info, warn};

use self::service::Service;
use self::tasks::ServiceTasks;
use crate::api::Access;
use crate::config::Config;
use crate::runtime::{Clock, Database, LogEvent, Metric, Shutdown};
use crate::{archive, http, intake, notify, ui, upstream};

/// Connects to the database, waiting for it if necessary, and applies missing migrations.
pub async fn prepare(database: &Database) -> anyhow::Result<()> {
    database.connect_at_start().await?;
    database.detect_pooler().await?;
    database.migrate().await.context("cannot apply the migrations")?;
    Ok(())
}

/// The metrics that a process counts itself. Those that are set for each answer are [`api::METRICS`](crate::api::METRICS).
#[must_use]
pub fn process_metrics() -> Vec<&'static dyn Metric> {
    [http::METRICS, intake::METRICS, archive::METRICS, upstream::METRICS, notify::METRICS].concat()
}

/// Where the service accepts connections.
#[derive(Debug)]
pub struct Listeners {
    /// For everything, or with `api` for `/webhook` and the health checks only.
    pub public: TcpListener,
    /// For everything but the webhook.
    pub api: Option<TcpListener>,
}

impl Listeners {
    /// Listens on the addresses of the settings.
    pub async fn bind(config: &Config) -> anyhow::Result<Self> {
        let bind = async |address: SocketAddr| {
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
        };
        let public = bind(config.listen).await?;
        let api = match config.api_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        Ok(Self { public, api })
    }
}

/// Runs the service on `listeners` until `shutdown` is requested, then drains it. Returns an error if a part failed.
pub async fn run(
    config: Config,
    database: Database,
    listeners: Listeners,
    clock: Clock,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let (address, api_address) = (listeners.public.local_addr()?, local_address(listeners.api.as_ref())?);
    log_warnings(&config);
    let service = Arc::new(Service::new(config, database, clock, shutdown, api_address.is_some()));
    let downloader = Arc::new(service.downloader()?);
    info!(
        event = %LogEvent::ServiceStarted, address = %address, api.address = api_address.map(tracing::field::display),
        version = env!("CARGO_PKG_VERSION"), webhook.secrets = service.config.webhooks.secrets, "listening"
    );
    let mut tasks = ServiceTasks::of(service);
    tasks.start_servers(listeners);
    tasks.start(|it| async move {
        archive::run_worker(downloader, it.config.downloads.concurrency, &it.wakeups, &it.shutdown).await;
    });
    tasks.start(|it| async move { it.wakeups.listen(&it.database, &it.shutdown).await });
    tasks.start(|it| async move {
        intake::run_retention(&it.database, &it.clock, it.config.webhooks.event_retention, &it.shutdown).await;
    });
    tasks.start(|it| async move { archive::watch_backlog(&it.database, &it.clock, &it.shutdown).await });
    tasks.start(|it| async move { it.hub.run(&it.shutdown).await });
    tasks.start(|it| async move { it.metrics.run_upkeep(&it.shutdown).await });
    tasks.start(|it| async move { ui::run_session_expiry(&it.database, &it.clock, &it.shutdown).await });
    tasks.start_eraser();
    tasks.start_notifier();
    tasks.start_upstream();
    tasks.start_probe();
    tasks.supervise().await
}

fn local_address(listener: Option<&TcpListener>) -> std::io::Result<Option<SocketAddr>> {
    listener.map(TcpListener::local_addr).transpose()
}

/// Logs settings that are valid but risky or probably mistakes.
fn log_warnings(config: &Config) {
    if matches!(config.access, Access::Anyone) {
        warn!(event = %LogEvent::AuthDisabled, "API_TOKENS is none: anyone who reaches the API may read and change every render");
    }
    for warning in &config.warnings {
        warn!(event = %LogEvent::ConfigWarning, setting = warning.name, "{}: {}", warning.name, warning.problem);
    }
}
