//! Limits the number of requests in progress. Requests above the limit are answered with 503 at once.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::errors::HttpError;

/// The requests in progress. A request counts until its answer begins; streaming the body does not count.
#[derive(Debug, Clone)]
pub(crate) struct InFlight(Arc<Semaphore>);

impl InFlight {
    /// Allows `limit` requests at once.
    pub(crate) fn at_most(limit: usize) -> Self {
        Self(Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))))
    }
}

/// Middleware that enforces the limit.
pub(crate) async fn limit_in_flight(State(in_flight): State<InFlight>, request: Request, next: Next) -> Response {
    match in_flight.0.try_acquire() {
        Ok(_permit) => next.run(request).await,
        Err(_full) => HttpError::overloaded().into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::{Router, middleware, routing};
    use futures::stream;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_above_the_limit_gets_503_at_once_and_streaming_does_not_count() {
        let slow = || async { tokio::time::sleep(std::time::Duration::from_secs(1)).await };
        let stream = || async { Body::from_stream(stream::pending::<Result<Vec<u8>, Infallible>>()) };
        let limit = middleware::from_fn_with_state(InFlight::at_most(1), limit_in_flight);
        let router =
            Router::new().route("/slow", routing::get(slow)).route("/stream", routing::get(stream)).layer(limit);
        let get = |path: &str| router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap());

        let (first, second) = tokio::join!(get("/slow"), get("/slow"));
        assert_eq!(first.unwrap().status(), StatusCode::OK);
        let second = second.unwrap();
        assert_eq!(
            (second.status(), second.headers()["retry-after"].as_bytes()),
            (StatusCode::SERVICE_UNAVAILABLE, &b"1"[..])
        );
        let _open = get("/stream").await.unwrap();
        assert_eq!(get("/slow").await.unwrap().status(), StatusCode::OK);
    }
}
