//! `GET /metrics`: metrics for Prometheus, read from the database on each request.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use metrics::{describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::archive::backlog;

use crate::archive::Backlog;
use crate::http::{CommonErrors, HttpError};
use crate::runtime::Clock;
use crate::runtime::{Database, REQUEST_TIMEOUT};
use crate::upstream::MissingWebhooks;
use crate::upstream::missing_webhooks;

/// The state of `GET /metrics`.
#[derive(Debug)]
pub struct Metrics {
    /// The database.
    pub database: Database,
    /// The clock.
    pub clock: Clock,
}

/// Metrics for Prometheus
///
/// Read from the database on each request, so every replica returns the same values.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "operations",
    responses(
        (status = 200, description = "Gauges in the Prometheus text format.", body = String, content_type = "text/plain"),
        CommonErrors,
    ),
)]
pub(super) async fn get(State(metrics): State<Arc<Metrics>>) -> Result<impl IntoResponse, HttpError> {
    let now = metrics.clock.now();
    let backlog = metrics.database.with_timeout(REQUEST_TIMEOUT, backlog::read(metrics.database.pool(), now)).await?;
    let webhooks =
        metrics.database.with_timeout(REQUEST_TIMEOUT, missing_webhooks::count(metrics.database.pool(), now)).await?;
    let left = backlog.first_expires_at.map(|expires_at| (expires_at - now).as_seconds_f64());
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], render(&backlog, left, webhooks)))
}

/// Renders the metrics in the Prometheus text format.
fn render(backlog: &Backlog, left: Option<f64>, webhooks: MissingWebhooks) -> String {
    // No count of rows comes near 2^52.
    #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
    let number = |count: i64| count as f64;
    let recorder = PrometheusBuilder::new().build_recorder();
    with_local_recorder(&recorder, || {
        describe_gauge!("renderhook_downloads", "Downloads that are not stored, by state");
        gauge!("renderhook_downloads", "state" => "pending").set(number(backlog.pending));
        gauge!("renderhook_downloads", "state" => "downloading").set(number(backlog.downloading));
        gauge!("renderhook_downloads", "state" => "failed").set(number(backlog.failed));
        describe_gauge!(
            "renderhook_downloads_endangered",
            "Downloads that keep failing or were not attempted, with less than two hours until their URL expires"
        );
        gauge!("renderhook_downloads_endangered").set(number(backlog.endangered));
        describe_gauge!(
            "renderhook_webhooks_missing",
            "Renders that ended in the last 24 hours according to polls, without a webhook"
        );
        gauge!("renderhook_webhooks_missing").set(number(webhooks.missing));
        if let Some(left) = left {
            describe_gauge!(
                "renderhook_download_time_left_seconds",
                "Time until the first URL of an unstored file expires; negative once it has expired"
            );
            gauge!("renderhook_download_time_left_seconds").set(left);
        }
    });
    recorder.handle().render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_rendered_in_the_prometheus_format() {
        let backlog = Backlog {
            pending: 3,
            downloading: 2,
            failed: 1,
            first_expires_at: None,
            endangered: 1,
            most_urgent: None,
            most_urgent_expires_at: None,
        };
        let text = render(&backlog, Some(-1.5), MissingWebhooks { ended: 9, missing: 4 });
        for line in [
            "# TYPE renderhook_downloads gauge",
            "renderhook_downloads{state=\"pending\"} 3",
            "renderhook_downloads{state=\"failed\"} 1",
            "renderhook_downloads_endangered 1",
            "renderhook_webhooks_missing 4",
            "renderhook_download_time_left_seconds -1.5",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is missing in\n{text}");
        }
        assert!(!render(&backlog, None, MissingWebhooks { ended: 0, missing: 0 }).contains("time_left"));
    }
}
