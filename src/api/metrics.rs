//! `GET /metrics`: metrics for Prometheus, read from the database on each request.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use metrics::{counter, describe_counter, describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::PrometheusBuilder;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::access::Need;
use crate::api::guard::RouteGuard;
use crate::archive::Backlog;
use crate::domain::{DownloadState, Kind, Status};
use crate::http::{CommonErrors, HttpError};
use crate::runtime::{Clock, Database, REQUEST_TIMEOUT, Tally, Totals};
use crate::upstream::{MISSING_WEBHOOKS_LIMIT, count_missing_webhooks};

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
    let (pool, now) = (metrics.database.pool(), metrics.clock.now());
    let figures = async {
        let backlog = Backlog::read(pool, now).await?;
        let webhooks = count_missing_webhooks(pool, now, MISSING_WEBHOOKS_LIMIT).await?;
        Ok((Totals::read(pool).await?, backlog, webhooks))
    };
    let (totals, backlog, webhooks) = metrics.database.with_timeout(REQUEST_TIMEOUT, figures).await?;
    let left = backlog.first_expires_at.map(|expires_at| (expires_at - now).as_seconds_f64());
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], render(&totals, &backlog, left, webhooks)))
}

/// The route.
pub(super) fn routes(guard: &RouteGuard) -> OpenApiRouter<Arc<Metrics>> {
    OpenApiRouter::new().routes(guard.requires(Need::Metrics, routes!(get)))
}

/// Renders the metrics in the Prometheus text format.
fn render(totals: &Totals, backlog: &Backlog, left: Option<f64>, missing_webhooks: i64) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    with_local_recorder(&recorder, || {
        render_totals(totals);
        downloads(totals, backlog, left);
        describe_gauge!(
            "renderhook_webhooks_missing",
            "Renders that ended in the last 24 hours according to polls, without a webhook; among the latest 1000"
        );
        gauge!("renderhook_webhooks_missing").set(number(missing_webhooks));
    });
    recorder.handle().render()
}

/// A count as a metric's value.
#[expect(clippy::cast_precision_loss, reason = "no count of rows comes near 2^52")]
const fn number(count: i64) -> f64 {
    count as f64
}

/// A total as a counter's value.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
const fn whole(total: f64) -> u64 {
    total as u64
}

/// The renders and their credits. Each combination is there from the start, so that a rule on it never lacks data.
fn render_totals(totals: &Totals) {
    describe_gauge!("renderhook_renders", "Renders by kind and status; the status is unknown until one is reported");
    describe_counter!("renderhook_credits_charged_total", "Credits charged for complete renders");
    for kind in Kind::ALL {
        for status in Status::ALL.into_iter().map(Some).chain([None]) {
            let name = status.map_or("unknown", Status::as_str);
            gauge!("renderhook_renders", "kind" => kind.as_str(), "status" => name)
                .set(totals.get(Tally::Renders(kind, status)));
        }
        counter!("renderhook_credits_charged_total", "kind" => kind.as_str())
            .absolute(whole(totals.get(Tally::Credits(kind))));
    }
}

fn downloads(totals: &Totals, backlog: &Backlog, left: Option<f64>) {
    describe_gauge!("renderhook_downloads", "Downloads by state");
    let downloading = number(backlog.downloading);
    // The totals and the backlog are read one after the other, so a download may be in both.
    let pending = (totals.get(Tally::FilesUnsettled) - downloading).max(0.0);
    for (state, count) in [
        (DownloadState::Pending, pending),
        (DownloadState::Downloading, downloading),
        (DownloadState::Stored, totals.get(Tally::FilesStored)),
        (DownloadState::Failed, totals.get(Tally::FilesFailed)),
    ] {
        gauge!("renderhook_downloads", "state" => state.as_str()).set(count);
    }
    describe_gauge!(
        "renderhook_downloads_endangered",
        "Downloads that keep failing or were not attempted, with less than two hours until their URL expires"
    );
    gauge!("renderhook_downloads_endangered").set(number(backlog.endangered));
    if let Some(left) = left {
        describe_gauge!(
            "renderhook_download_time_left_seconds",
            "Time until the first URL of an unstored file expires; negative once it has expired"
        );
        gauge!("renderhook_download_time_left_seconds").set(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_rendered_in_the_prometheus_format() {
        let backlog = Backlog {
            downloading: 2,
            first_expires_at: None,
            endangered: 1,
            most_urgent: None,
            most_urgent_expires_at: None,
        };
        let totals = Totals::from_iter([
            (Tally::Renders(Kind::Video, Some(Status::Complete)), 7.0),
            (Tally::Renders(Kind::Audio, None), 1.0),
            (Tally::Credits(Kind::Video), 4500.0),
            (Tally::FilesUnsettled, 5.0),
            (Tally::FilesFailed, 1.0),
            (Tally::FilesStored, 12.0),
        ]);
        let text = render(&totals, &backlog, Some(-1.5), 4);
        for line in [
            "# TYPE renderhook_downloads gauge",
            "renderhook_downloads{state=\"pending\"} 3",
            "renderhook_downloads{state=\"downloading\"} 2",
            "renderhook_downloads{state=\"stored\"} 12",
            "renderhook_downloads{state=\"failed\"} 1",
            "renderhook_downloads_endangered 1",
            "renderhook_webhooks_missing 4",
            "renderhook_download_time_left_seconds -1.5",
            "renderhook_renders{kind=\"video\",status=\"complete\"} 7",
            "renderhook_renders{kind=\"audio\",status=\"unknown\"} 1",
            "renderhook_renders{kind=\"image\",status=\"queued\"} 0",
            "renderhook_credits_charged_total{kind=\"video\"} 4500",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is missing in\n{text}");
        }
        assert!(!render(&totals, &backlog, None, 0).contains("time_left"));
    }
}
