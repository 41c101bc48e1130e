//! Wires the parts of the service together.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::api::{self, Access, ApiState, FileServing, Health, LinkKeyCell, Metrics, PolledAccounts, RouteStates};
use crate::archive::{self, Downloader, Fetcher, Settler, StoreHealth};
use crate::config::Config;
use crate::erasure::{self, Eraser};
use crate::http::{self, AddressLimits, BodyReader, HeldRequests, Limits};
use crate::intake::{self, AdviceLimiter, Receiver, RecordRules, Recorder};
use crate::notify::{self, Notifier};
use crate::runtime::{self, Clock, Database, LogEvent, Metric, ProcessMetrics, Shutdown, Wakeups};
use crate::streams::{EventReader, Hub};
use crate::ui::{self, UiState};
use crate::upstream::{self, Deleter, ProjectDeleter, ProjectFinder, Reconciler, Throttle};
use crate::views::RenderReader;

/// Connects to the database, waiting for it if necessary, and applies missing migrations.
pub async fn prepare(database: &Database) -> anyhow::Result<()> {
    database.connect_at_start().await?;
    database.detect_pooler().await?;
    database.migrate().await.context("cannot apply the migrations")?;
    Ok(())
}

/// The metrics that a process counts itself. Those that are set for each answer are [`api::METRICS`].
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
        version = env!("CARGO_PKG_VERSION"), webhook.secrets = service.config.webhook_secrets, "listening"
    );
    let mut parts = Parts { running: JoinSet::new(), service };
    parts.start_servers(listeners);
    parts.start(|it| async move {
        archive::run_worker(downloader, it.config.downloads.concurrency, &it.wakeups, &it.shutdown).await;
    });
    parts.start(|it| async move { it.wakeups.listen(&it.database, &it.shutdown).await });
    parts.start(|it| async move {
        intake::run_retention(&it.database, &it.clock, it.config.event_retention, &it.shutdown).await;
    });
    parts.start(|it| async move { archive::watch_backlog(&it.database, &it.clock, &it.shutdown).await });
    parts.start(|it| async move { it.hub.run(&it.shutdown).await });
    parts.start(|it| async move { it.metrics.run_upkeep(&it.shutdown).await });
    parts.start(|it| async move { ui::run_session_expiry(&it.database, &it.clock, &it.shutdown).await });
    parts.start_eraser();
    parts.start_notifier();
    parts.start_upstream();
    parts.start_probe();
    parts.supervise().await
}

/// What the parts share, and the settings that each of them is built from.
struct Service {
    config: Config,
    database: Database,
    clock: Clock,
    shutdown: Shutdown,
    wakeups: Arc<Wakeups>,
    recorder: Recorder,
    limits: AddressLimits,
    bodies: BodyReader,
    hub: Arc<Hub>,
    metrics: &'static ProcessMetrics,
}

impl Service {
    fn new(config: Config, database: Database, clock: Clock, shutdown: Shutdown, own_api_address: bool) -> Self {
        // For the database, the log and libraries; and for a transfer, its connections and its file.
        let own_descriptors = 128 + 8 * u64::try_from(config.downloads.concurrency).unwrap_or(u64::MAX);
        let descriptors = runtime::raise_descriptor_limit();
        let limits = AddressLimits::fit_descriptors(&config.http_limits, own_api_address, descriptors, own_descriptors);
        let rules = RecordRules {
            posted: config.notify.posted,
            webhooks_only: config.upstream.accounts.is_none(),
            external_ids: config.external_ids.clone(),
        };
        let recorder = Recorder::start(database.clone(), clock.clone(), rules, config.queue_limits);
        let (bodies, wakeups) = (BodyReader::new(&limits.public), Arc::new(Wakeups::default()));
        let events = EventReader { database: database.clone(), store: config.store.clone() };
        let held = HeldRequests::at_most(limits.of_api().held_requests());
        let hub = Arc::new(Hub::new(events, wakeups.clone(), held));
        let metrics = ProcessMetrics::start(&process_metrics());
        Self { config, database, clock, shutdown, wakeups, recorder, limits, bodies, hub, metrics }
    }

    fn route_states(&self) -> RouteStates {
        let (database, shutdown) = (self.database.clone(), self.shutdown.clone());
        RouteStates {
            receiver: Arc::new(self.receiver()),
            api: Arc::new(self.api_state()),
            metrics: Arc::new(self.metrics()),
            health: Arc::new(Health { database, shutdown }),
            access: Arc::new(self.config.access.clone()),
        }
    }

    fn metrics(&self) -> Metrics {
        let upstream = &self.config.upstream;
        Metrics {
            process: self.metrics,
            database: self.database.clone(),
            clock: self.clock.clone(),
            hub: self.hub.clone(),
            polling: upstream
                .accounts
                .clone()
                .map(|accounts| PolledAccounts { accounts, reconcile_after: upstream.schedule.initial_delay }),
        }
    }

    /// The operator pages, if they are served.
    fn pages(&self, states: &RouteStates, limits: &Limits) -> Router {
        if self.config.files.ui_enabled {
            ui::pages(UiState::new(states.api.clone(), states.access.clone()), limits)
        } else {
            Router::new()
        }
    }

    fn receiver(&self) -> Receiver {
        Receiver {
            verifier: self.config.verifier.clone(),
            database: self.database.clone(),
            recorder: self.recorder.clone(),
            clock: self.clock.clone(),
            bodies: self.bodies.clone(),
            max_body_bytes: self.config.max_body_bytes,
            advice: AdviceLimiter::default(),
        }
    }

    fn api_state(&self) -> ApiState {
        let files = &self.config.files;
        ApiState {
            database: self.database.clone(),
            store: self.config.store.clone(),
            reader: RenderReader::start(self.database.clone(), self.config.store.clone()),
            files: FileServing {
                mode: files.serve,
                public_url: files.public_url.clone(),
                link_key: LinkKeyCell::default(),
            },
            clock: self.clock.clone(),
            events: EventReader { database: self.database.clone(), store: self.config.store.clone() },
            hub: self.hub.clone(),
            has_api_key: self.config.upstream.accounts.is_some(),
            posted: self.config.notify.posted,
            shutdown: self.shutdown.clone(),
            bodies: self.bodies.clone(),
        }
    }

    fn downloader(&self) -> anyhow::Result<Downloader> {
        let Config { downloads, upstream, notify, store, .. } = &self.config;
        let fetcher = Fetcher::new(downloads.guard.clone(), downloads.max_bytes);
        Ok(Downloader {
            database: self.database.clone(),
            settler: Settler::new(notify.posted),
            store: store.clone(),
            store_health: StoreHealth::default(),
            fetcher: fetcher.context("cannot build the HTTP client")?,
            clock: self.clock.clone(),
            lease: downloads.lease,
            max_attempts: downloads.max_attempts,
            renews: upstream.accounts.is_some(),
            deletes: upstream.delete_after_store,
        })
    }

    /// Asks Magic Hour for projects, if there is an API key.
    fn finder(&self) -> Option<ProjectFinder> {
        let upstream = &self.config.upstream;
        let throttle = Throttle::new(self.database.clone(), self.clock.clone(), upstream.poll_interval);
        Some(ProjectFinder { accounts: upstream.accounts.clone()?, throttle, clock: self.clock.clone() })
    }

    fn reconciler(&self, finder: ProjectFinder) -> Reconciler {
        Reconciler {
            database: self.database.clone(),
            recorder: self.recorder.clone(),
            finder,
            clock: self.clock.clone(),
            schedule: self.config.upstream.schedule,
            wakeups: self.wakeups.clone(),
        }
    }

    fn deleter(&self, finder: ProjectFinder) -> Deleter {
        Deleter {
            database: self.database.clone(),
            recorder: self.recorder.clone(),
            finder,
            store: self.config.store.clone(),
            clock: self.clock.clone(),
        }
    }
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

/// The tasks that run as long as the service does.
struct Parts {
    running: JoinSet<()>,
    service: Arc<Service>,
}

impl Parts {
    fn start<F: Future<Output = ()> + Send + 'static>(&mut self, part: impl FnOnce(Arc<Service>) -> F) {
        let part = part(self.service.clone());
        // Tracked, so that draining also waits for what a part finishes after it was stopped.
        self.running.spawn(self.service.shutdown.tasks().track_future(part));
    }

    /// Starts a server for each address. Each has its own connections, so that a flood of one leaves room at the other.
    fn start_servers(&mut self, Listeners { public, api }: Listeners) {
        let limits = self.service.limits.clone();
        let states = self.service.route_states();
        let pages = self.service.pages(&states, limits.of_api());
        let routers = api::routers(&states, pages, limits.of_api(), api.is_some());
        let (public_router, public_limits) = (routers.public, limits.public);
        self.start(|it| async move { http::serve(public, public_router, public_limits, &it.shutdown).await });
        if let (Some(listener), Some(router), Some(limits)) = (api, routers.api, limits.api) {
            self.start(|it| async move { http::serve(listener, router, limits, &it.shutdown).await });
        }
    }

    /// Starts what erases renders.
    fn start_eraser(&mut self) {
        let service = self.service.clone();
        let projects = service.finder().map(|finder| ProjectDeleter { finder });
        let (database, store, clock) = (service.database.clone(), service.config.store.clone(), service.clock.clone());
        let eraser = Eraser { database, store, projects, clock };
        self.start(|it| async move { eraser.run(&it.shutdown).await });
        if let Some(retention) = service.config.file_retention {
            self.start(move |it| async move {
                erasure::watch_file_retention(&it.database, &it.clock, retention, &it.shutdown).await;
            });
        }
    }

    /// Starts to post notifications, if there is a `NOTIFY_URL`.
    fn start_notifier(&mut self) {
        let Service { config, database, clock, .. } = &*self.service;
        let Some(client) = config.notify.client.clone() else { return };
        let (database, store, clock) = (database.clone(), config.store.clone(), clock.clone());
        let notifier = Notifier { database, store, clock, client, max_age: config.notify.max_age };
        self.start(|it| async move { Box::pin(notifier.run(&it.wakeups, &it.shutdown)).await });
    }

    /// Starts what calls Magic Hour's API, if there is a key.
    fn start_upstream(&mut self) {
        let service = self.service.clone();
        let Some(finder) = service.finder() else { return };
        let reconciler = Arc::new(service.reconciler(finder.clone()));
        self.start(|it| async move { reconciler.run(&it.shutdown).await });
        self.start(|it| async move { upstream::watch_missing_webhooks(&it.database, &it.clock, &it.shutdown).await });
        if service.config.upstream.delete_after_store {
            let deleter = service.deleter(finder);
            self.start(|it| async move { deleter.run(&it.shutdown).await });
        }
    }

    /// Logs whether the store can be written. A failing store does not stop the service: events are still accepted, and
    /// downloads are retried.
    fn start_probe(&self) {
        let service = self.service.clone();
        self.service.shutdown.tasks().spawn(async move {
            match service.shutdown.forced().run_until_cancelled(service.config.store.probe()).await {
                Some(Ok(())) => info!(event = %LogEvent::StoreReady, "the store can be written"),
                Some(Err(error)) => error!(
                    event = %LogEvent::StoreFailed, error = %error,
                    "the store cannot be written: check STORAGE_URL and its credentials"
                ),
                None => {}
            }
        });
    }

    /// Waits for the stop request, then drains. If a part ends earlier, which is a bug, the service stops: otherwise it would
    /// look healthy while doing only part of its work.
    async fn supervise(mut self) -> anyhow::Result<()> {
        let failed = tokio::select! {
            () = self.service.shutdown.wait_for_stop() => None,
            ended = self.running.join_next() => (!self.service.shutdown.is_stopping()).then_some(ended),
        };
        if let Some(ended) = &failed {
            error!(event = %LogEvent::ServiceStopping, error = ?ended, "a part of the service ended by itself: stopping");
        } else {
            info!(event = %LogEvent::ServiceStopping, "stopping: finishing requests, and returning downloads to the queue");
        }
        self.service.shutdown.stop();
        let drained = self.service.shutdown.drain().await;
        self.running.shutdown().await;
        info!(event = %LogEvent::ServiceStopped, drained, "stopped");
        if failed.is_some() {
            bail!("a part of the service ended by itself");
        }
        Ok(())
    }
}
