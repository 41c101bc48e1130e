//! The tasks that run as long as the service does.

use std::sync::Arc;

use anyhow::bail;
use tokio::task::JoinSet;
use tracing::{error, info};

use super::Listeners;
use super::service::Service;
use crate::api;
use crate::erasure::{self, Eraser};
use crate::http;
use crate::notify::Notifier;
use crate::runtime::LogEvent;
use crate::upstream::{self, ProjectDeleter};

/// The running tasks.
pub(super) struct ServiceTasks {
    running: JoinSet<()>,
    service: Arc<Service>,
}

impl ServiceTasks {
    /// None yet.
    pub(super) fn of(service: Arc<Service>) -> Self {
        Self { running: JoinSet::new(), service }
    }

    /// Starts a task.
    pub(super) fn start<F: Future<Output = ()> + Send + 'static>(&mut self, task: impl FnOnce(Arc<Service>) -> F) {
        let task = task(self.service.clone());
        // Tracked, so that draining also waits for what a task finishes after it was stopped.
        self.running.spawn(self.service.shutdown.tasks().track_future(task));
    }

    /// Starts a server for each address. Each has its own connections, so that a flood of one leaves room at the other.
    pub(super) fn start_servers(&mut self, Listeners { public, api }: Listeners) {
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
    pub(super) fn start_eraser(&mut self) {
        let service = self.service.clone();
        let projects = service.finder().map(|finder| ProjectDeleter { finder });
        let (database, store, clock) = (service.database.clone(), service.config.store.clone(), service.clock.clone());
        let eraser = Eraser { database, store, projects, clock };
        self.start(|it| async move { eraser.run(&it.shutdown).await });
        if let Some(retention) = service.config.files.retention {
            self.start(move |it| async move {
                erasure::watch_file_retention(&it.database, &it.clock, retention, &it.shutdown).await;
            });
        }
    }

    /// Starts to post notifications, if there is a `NOTIFY_URL`.
    pub(super) fn start_notifier(&mut self) {
        let Service { config, database, clock, .. } = &*self.service;
        let Some(client) = config.notify.client.clone() else { return };
        let (database, store, clock) = (database.clone(), config.store.clone(), clock.clone());
        let notifier = Notifier { database, store, clock, client, max_age: config.notify.max_age };
        self.start(|it| async move { Box::pin(notifier.run(&it.wakeups, &it.shutdown)).await });
    }

    /// Starts what calls Magic Hour's API, if there is a key.
    pub(super) fn start_upstream(&mut self) {
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
    pub(super) fn start_probe(&self) {
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

    /// Waits for the stop request, then drains. If a task ends earlier, which is a bug, the service stops: otherwise it would
    /// look healthy while doing only part of its work.
    pub(super) async fn supervise(mut self) -> anyhow::Result<()> {
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
