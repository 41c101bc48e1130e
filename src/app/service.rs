//! What the tasks of the service are built from.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;

use super::process_metrics;
use crate::api::{ApiState, FileServing, Health, LinkKeyCell, Metrics, PolledAccounts, RouteStates};
use crate::archive::{Downloader, Fetcher, Settler, StoreHealth};
use crate::config::Config;
use crate::http::{AddressLimits, BodyReader, HeldRequests, Limits};
use crate::intake::{AdviceLimiter, Receiver, RecordRules, Recorder};
use crate::runtime::{self, Clock, Database, ProcessMetrics, Shutdown, Wakeups};
use crate::streams::{EventReader, Hub};
use crate::ui::{self, UiState};
use crate::upstream::{Deleter, ProjectFinder, Reconciler, Throttle};
use crate::views::RenderReader;

/// What the tasks share, and the settings that each of them is built from.
pub(super) struct Service {
    pub(super) config: Config,
    pub(super) database: Database,
    pub(super) clock: Clock,
    pub(super) shutdown: Shutdown,
    pub(super) wakeups: Arc<Wakeups>,
    recorder: Recorder,
    pub(super) limits: AddressLimits,
    bodies: BodyReader,
    pub(super) hub: Arc<Hub>,
    pub(super) metrics: &'static ProcessMetrics,
}

impl Service {
    pub(super) fn new(
        config: Config,
        database: Database,
        clock: Clock,
        shutdown: Shutdown,
        own_api_address: bool,
    ) -> Self {
        // For the database, the log and libraries; and for a transfer, its connections and its file.
        let own_descriptors = 128 + 8 * u64::try_from(config.downloads.concurrency).unwrap_or(u64::MAX);
        let descriptors = runtime::raise_descriptor_limit();
        let limits = AddressLimits::fit_descriptors(&config.http_limits, own_api_address, descriptors, own_descriptors);
        let rules = RecordRules {
            posted: config.notify.posted,
            webhooks_only: config.upstream.accounts.is_none(),
            external_ids: config.webhooks.external_ids.clone(),
        };
        let recorder = Recorder::start(database.clone(), clock.clone(), rules, config.webhooks.queue_limits);
        let (bodies, wakeups) = (BodyReader::new(&limits.public), Arc::new(Wakeups::default()));
        let events = EventReader { database: database.clone(), store: config.store.clone() };
        let held = HeldRequests::at_most(limits.of_api().held_requests());
        let hub = Arc::new(Hub::new(events, wakeups.clone(), held));
        let metrics = ProcessMetrics::start(&process_metrics());
        Self { config, database, clock, shutdown, wakeups, recorder, limits, bodies, hub, metrics }
    }

    pub(super) fn route_states(&self) -> RouteStates {
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
    pub(super) fn pages(&self, states: &RouteStates, limits: &Limits) -> Router {
        if self.config.files.ui_enabled {
            ui::pages(UiState::new(states.api.clone(), states.access.clone()), limits)
        } else {
            Router::new()
        }
    }

    fn receiver(&self) -> Receiver {
        Receiver {
            verifier: self.config.webhooks.verifier.clone(),
            database: self.database.clone(),
            recorder: self.recorder.clone(),
            clock: self.clock.clone(),
            bodies: self.bodies.clone(),
            max_body_bytes: self.config.webhooks.max_body_bytes,
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

    pub(super) fn downloader(&self) -> anyhow::Result<Downloader> {
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
    pub(super) fn finder(&self) -> Option<ProjectFinder> {
        let upstream = &self.config.upstream;
        let throttle = Throttle::new(self.database.clone(), self.clock.clone(), upstream.poll_interval);
        Some(ProjectFinder { accounts: upstream.accounts.clone()?, throttle, clock: self.clock.clone() })
    }

    pub(super) fn reconciler(&self, finder: ProjectFinder) -> Reconciler {
        Reconciler {
            database: self.database.clone(),
            recorder: self.recorder.clone(),
            finder,
            clock: self.clock.clone(),
            schedule: self.config.upstream.schedule,
            posted: self.config.notify.posted,
            wakeups: self.wakeups.clone(),
        }
    }

    pub(super) fn deleter(&self, finder: ProjectFinder) -> Deleter {
        Deleter {
            database: self.database.clone(),
            recorder: self.recorder.clone(),
            finder,
            store: self.config.store.clone(),
            clock: self.clock.clone(),
        }
    }
}
