//! `GET /metrics`: counters of this process, and values read from the database for this answer, for Prometheus.

mod gauges;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::gauges::METRICS;
use self::gauges::{DatabaseValues, ProcessValues};
use crate::api::access::Need;
use crate::api::guard::RouteGuard;
use crate::archive::Backlog;
use crate::http::CommonErrors;
use crate::notify;
use crate::runtime::{Clock, Database, DatabaseError, ProcessMetrics, REQUEST_TIMEOUT, Totals, rendered_now};
use crate::streams::Hub;
use crate::upstream::{self, Accounts, MISSING_WEBHOOKS_LIMIT, count_missing_webhooks};

/// The state of `GET /metrics`.
#[derive(Debug)]
pub struct Metrics {
    /// What this process counts.
    pub process: &'static ProcessMetrics,
    /// The database.
    pub database: Database,
    /// The clock.
    pub clock: Clock,
    /// The streams and waiting requests of this process.
    pub hub: Arc<Hub>,
    /// The accounts whose renders are polled, if there is an API key.
    pub polling: Option<PolledAccounts>,
}

/// The accounts whose renders are polled.
#[derive(Debug)]
pub struct PolledAccounts {
    /// The accounts.
    pub accounts: Accounts,
    /// How long after an event a render is polled first.
    pub reconcile_after: Duration,
}

/// Metrics for Prometheus
///
/// Counters of this process, and values read from the database for this answer. If the database does not answer, only the
/// counters.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "operations",
    responses(
        (status = 200, description = "Metrics in the Prometheus text format.", body = String, content_type = "text/plain"),
        CommonErrors,
    ),
)]
pub(super) async fn get(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    // OK to leave an error out: the database logs it, and `renderhook_database_up` is 0.
    let values = metrics.read().await.ok();
    let process = ProcessValues { pool: metrics.database.pool_use(), subscribers: metrics.hub.subscriber_count() };
    let now = rendered_now(METRICS, || {
        process.set(values.is_some());
        if let Some(values) = &values {
            values.set();
        }
    });
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.process.render() + &now)
}

/// The route.
pub(super) fn routes(guard: &RouteGuard) -> OpenApiRouter<Arc<Metrics>> {
    OpenApiRouter::new().routes(guard.requires(Need::Metrics, routes!(get)))
}

impl Metrics {
    /// The positions of the accounts, and whether they are among `paused`.
    fn accounts(&self, paused: &[String]) -> Vec<(usize, bool)> {
        let accounts = self.polling.iter().flat_map(|polling| polling.accounts.iter());
        accounts.map(|it| (it.position, paused.iter().any(|paused| paused == it.id.as_str()))).collect()
    }

    async fn read(&self) -> Result<DatabaseValues, DatabaseError> {
        let (pool, now) = (self.database.pool(), self.clock.now());
        let values = async {
            Ok(DatabaseValues {
                now,
                backlog: Backlog::read(pool, now).await?,
                missing_webhooks: count_missing_webhooks(pool, now, MISSING_WEBHOOKS_LIMIT).await?,
                notifications_wait_since: notify::oldest_pending(pool).await?,
                polls_due_since: match &self.polling {
                    Some(polling) => upstream::first_due_poll(pool, polling.reconcile_after).await?,
                    None => None,
                },
                accounts: self.accounts(&upstream::paused_accounts(pool, now).await?),
                totals: Totals::read(pool).await?,
            })
        };
        self.database.with_timeout(REQUEST_TIMEOUT, values).await
    }
}
