//! The metrics of HTTP requests.

use axum::http::StatusCode;
use metrics::Label;

use crate::runtime::{HistogramFamily, LabelSet, Metric};

/// The metrics of this room.
pub static METRICS: &[&dyn Metric] = &[&REQUEST_DURATION];

/// The status of a request whose client left before the answer, as nginx logs it.
const CLIENT_LEFT: &str = "499";

/// The labels of a request: a known method, a route, and a status.
#[derive(Debug)]
pub(super) struct RequestLabels {
    pub(super) method: &'static str,
    pub(super) route: String,
    /// `None` if the client left before the answer.
    pub(super) status: Option<StatusCode>,
}

impl LabelSet for RequestLabels {
    const NAMES: &'static [&'static str] = &["method", "route", "status"];

    fn labels(self) -> Vec<Label> {
        let status = self.status.as_ref().map_or(CLIENT_LEFT, StatusCode::as_str);
        vec![
            Label::from_static_parts("method", self.method),
            Label::new("route", self.route),
            Label::new("status", status.to_owned()),
        ]
    }
}

pub(super) static REQUEST_DURATION: HistogramFamily<RequestLabels> = HistogramFamily::new(
    "http_server_request_duration_seconds",
    "Time from a request's head to the beginning of its answer; status 499: the client left before",
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0],
);
