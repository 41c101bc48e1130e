//! What every request gets: an id, a span with it, exactly one line `http.responded`, and its place in the metrics.
//!
//! All that the request's task logs is logged in the span, also while the answer's body is sent, and so carries the id.
//!
//! The line is also written if a handler panics or the client disconnects before the answer. Paths are logged as their
//! route and unknown methods as `other`, so nothing from the request's text gets into the log.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, Level, Span, debug, error_span, info, warn};

use super::errors::ErrorCause;
use super::metrics::{REQUEST_DURATION, RequestLabels};
use super::request_id::{REQUEST_ID_HEADER, RequestId};
use super::spanned_body::SpannedBody;
use crate::runtime::{LogEvent, are_traced, continue_trace, set_attribute};

/// How requests are logged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Journal {
    /// Routes whose successful answers are logged at `debug`, because they are requested every few seconds.
    pub(crate) quiet_routes: &'static [&'static str],
    /// Routes that log themselves, and better, why they refuse a request.
    pub(crate) refusing_routes: &'static [&'static str],
}

/// The outermost middleware, so that it sees every answer.
pub(crate) async fn journal(State(journal): State<Journal>, request: Request, next: Next) -> Response {
    let mut request_log = RequestLog::begin(journal, &request);
    let mut response = next.run(request).instrument(request_log.span.clone()).await;
    response.headers_mut().insert(REQUEST_ID_HEADER, request_log.id.header_value());
    request_log.end(response.status(), response.extensions().get::<ErrorCause>().copied());
    response.map(|body| Body::new(SpannedBody::new(body, request_log.span.clone())))
}

/// Logs an answer that hyper sent itself, before the request could be routed.
pub(super) fn log_refusal(id: &RequestId, status: StatusCode) {
    let line =
        ResponseLine { method: OTHER, route: NO_ROUTE, status: Some(status), error: None, duration: Duration::ZERO };
    request_span(id).in_scope(|| line.write(Level::INFO));
}

/// A span at the highest level, so that no filter removes the request's id from a line that it passes. Traces know it by
/// the method and the route.
fn request_span(id: &RequestId) -> Span {
    error_span!("request", otel.name = Empty, otel.kind = Empty, request.id = %id)
}

/// Writes the log line of a request. If it is dropped before the answer, it logs that the client disconnected.
struct RequestLog {
    journal: Journal,
    id: RequestId,
    span: Span,
    method: &'static str,
    route: String,
    begun: Instant,
    ended: bool,
}

impl RequestLog {
    fn begin(journal: Journal, request: &Request) -> Self {
        let id = RequestId::from_headers(request.headers());
        let method = method_name(request.method());
        let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str).to_owned();
        let span = request_span(&id);
        if are_traced() {
            continue_trace(&span, request.headers());
            span.record("otel.name", format!("{method} {route}")).record("otel.kind", "server");
            set_attribute(&span, "http.request.method", method);
            set_attribute(&span, "http.route", route.clone());
        }
        Self { journal, span, id, method, route, begun: Instant::now(), ended: false }
    }

    fn end(&mut self, status: StatusCode, cause: Option<ErrorCause>) {
        self.ended = true;
        set_attribute(&self.span, "http.response.status_code", i64::from(status.as_u16()));
        let quiet = status.is_success() && self.journal.quiet_routes.contains(&self.route.as_str());
        let is_logged = self.journal.refusing_routes.contains(&self.route.as_str());
        let level = match status {
            _ if quiet => Level::DEBUG,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if !is_logged => Level::WARN,
            // Also after a panic: the line that needs a person's attention is `service.panicked`.
            _ => Level::INFO,
        };
        self.write(level, Some(status), cause.map(ErrorCause::as_str));
    }

    fn write(&self, level: Level, status: Option<StatusCode>, error: Option<&'static str>) {
        let duration = self.begun.elapsed();
        let line = ResponseLine { method: self.method, route: &self.route, status, error, duration };
        self.span.in_scope(|| line.write(level));
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        if !self.ended {
            self.write(Level::INFO, None, Some("client_disconnected"));
        }
    }
}

/// The fields of the line.
struct ResponseLine<'a> {
    method: &'static str,
    route: &'a str,
    status: Option<StatusCode>,
    error: Option<&'static str>,
    duration: Duration,
}

impl ResponseLine<'_> {
    fn write(&self, level: Level) {
        let labels = RequestLabels { method: self.method, route: self.route.to_owned(), status: self.status };
        REQUEST_DURATION.observe(labels, self.duration.as_secs_f64());
        macro_rules! write_at {
            ($level:ident, $message:literal) => {
                $level!(
                    event = %LogEvent::HttpResponded,
                    http.method = self.method,
                    http.route = self.route,
                    http.status = self.status.map(|status| status.as_u16()),
                    error = self.error,
                    duration_ms = u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
                    $message
                )
            };
        }
        match level {
            Level::DEBUG | Level::TRACE => write_at!(debug, "answered"),
            Level::INFO => write_at!(info, "answered"),
            Level::WARN | Level::ERROR => write_at!(warn, "refused"),
        }
    }
}

/// The route of a request that matches none.
const NO_ROUTE: &str = "none";
/// The name of an unknown method.
const OTHER: &str = "other";

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::response::IntoResponse;
    use axum::routing::{any, get};
    use axum::{Router, middleware};
    use futures::{FutureExt, stream};
    use serde_json::Value;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;
    use tracing::subscriber::DefaultGuard;

    use super::*;
    use crate::http::HttpError;
    use crate::runtime::{CapturedLog, LogFormat, log_panics};

    /// Captures every line of this program.
    fn capture() -> (CapturedLog, DefaultGuard) {
        CapturedLog::start(LogFormat::Json, false, "trace")
    }

    async fn panicking() -> StatusCode {
        panic!("a handler's secret")
    }

    fn router() -> Router {
        let catch_panic = CatchPanicLayer::custom(|_panic| HttpError::panicked().into_response());
        Router::new()
            .route("/any/{id}", any(|| async { "done" }))
            .route("/quiet", get(|| async { "done" }))
            .route("/refused", get(|| async { StatusCode::UNAUTHORIZED }))
            .route("/logged", get(|| async { StatusCode::UNAUTHORIZED }))
            .route("/panic", get(panicking))
            .route("/never", get(std::future::pending::<()>))
            .layer(catch_panic)
            .layer(middleware::from_fn_with_state(
                Journal { quiet_routes: &["/quiet"], refusing_routes: &["/logged"] },
                journal,
            ))
    }

    fn request(method: &str, path: &str) -> Request {
        Request::builder().method(method).uri(path).header("x-request-id", "mine").body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn each_request_writes_one_line_and_nothing_that_a_stranger_wrote() {
        let (lines, _guard) = capture();
        let long_method = "X".repeat(30_000);
        let table = [
            ("GET", "/any/secret?query=secret", 200, "INFO", "GET", "/any/{id}", Value::Null),
            (&long_method, "/any/secret", 200, "INFO", "other", "/any/{id}", Value::Null),
            ("GET", "/secret", 404, "INFO", "GET", "none", Value::Null),
            ("GET", "/quiet", 200, "DEBUG", "GET", "/quiet", Value::Null),
            ("POST", "/quiet", 405, "INFO", "POST", "/quiet", Value::Null),
            ("GET", "/refused", 401, "WARN", "GET", "/refused", Value::Null),
            ("GET", "/logged", 401, "INFO", "GET", "/logged", Value::Null),
        ];
        for (method, path, status, level, method_logged, route, error) in table {
            let response = router().oneshot(request(method, path)).await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{path}");
            assert_eq!(response.headers()["x-request-id"], "mine");
            let written = lines.take_lines();
            let [line] = &written[..] else { panic!("{} lines for {path}: {written:?}", written.len()) };
            assert_eq!((&line["event"], &line["level"]), (&"http.responded".into(), &level.into()), "{path}");
            assert_eq!((&line["http.method"], &line["http.route"]), (&method_logged.into(), &route.into()), "{path}");
            assert_eq!((&line["http.status"], &line["error"]), (&status.into(), &error), "{path}");
            assert_eq!(line["request.id"], "mine");
            assert!(!line.to_string().contains("secret"), "{line}");
        }
    }

    #[tokio::test]
    async fn a_panic_writes_one_line_about_the_defect_and_one_about_the_request() {
        log_panics();
        let (lines, _guard) = capture();
        let response = router().oneshot(request("GET", "/panic")).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let written = lines.take_lines();
        let [defect, answer] = &written[..] else { panic!("{written:?}") };
        assert_eq!((&defect["event"], &defect["level"]), (&"service.panicked".into(), &"ERROR".into()));
        assert!(defect["location"].as_str().unwrap().starts_with(file!()), "{defect}");
        assert_eq!((&answer["event"], &answer["level"]), (&"http.responded".into(), &"INFO".into()));
        assert_eq!((&answer["http.status"], &answer["error"]), (&503.into(), &"panicked".into()));
        for line in &written {
            assert_eq!(line["request.id"], "mine");
            assert!(!line.to_string().contains("secret"), "{line}");
        }
    }

    #[tokio::test]
    async fn a_request_whose_client_leaves_writes_its_line_without_a_status() {
        let (lines, _guard) = capture();
        assert!(router().oneshot(request("GET", "/never")).now_or_never().is_none());
        let written = lines.take_lines();
        let [line] = &written[..] else { panic!("{written:?}") };
        assert_eq!((&line["error"], &line["http.status"]), (&"client_disconnected".into(), &Value::Null));
    }

    #[tokio::test]
    async fn all_that_a_request_logs_until_its_body_is_sent_carries_its_id() {
        let (lines, _guard) = capture();
        let logs = || async {
            info!("from a handler");
            Body::from_stream(stream::once(async {
                info!("from a body");
                Ok::<_, Infallible>("done")
            }))
        };
        let layer = middleware::from_fn_with_state(Journal { quiet_routes: &[], refusing_routes: &[] }, journal);
        let router = Router::new().route("/logs", get(logs)).layer(layer);
        let response = router.oneshot(request("GET", "/logs")).await.unwrap();
        axum::body::to_bytes(response.into_body(), 10).await.unwrap();
        info!("after the request");
        let written: Vec<_> =
            lines.take_lines().iter().map(|line| (line["message"].clone(), line["request.id"].clone())).collect();
        let mine = Value::from("mine");
        assert_eq!(
            written,
            [
                ("from a handler".into(), mine.clone()),
                ("answered".into(), mine.clone()),
                ("from a body".into(), mine),
                ("after the request".into(), Value::Null)
            ]
        );
    }
}
