//! Limits the number of requests in progress. Requests above the limit are answered with 503 at once.
//!
//! A request that only waits, for a change or as a stream, does not count: it holds a [`HeldPlace`] instead, of which
//! there are many more.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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

/// The place of a request among those in progress, an extension of the request.
#[derive(Debug, Clone)]
pub(crate) struct InFlightPlace(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl InFlightPlace {
    /// Gives the place to another request. Call it when the request begins to wait.
    pub(crate) fn release(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Middleware that enforces the limit.
pub(crate) async fn limit_in_flight(State(in_flight): State<InFlight>, mut request: Request, next: Next) -> Response {
    let Ok(permit) = in_flight.0.try_acquire_owned() else { return HttpError::overloaded().into_response() };
    let place = InFlightPlace(Arc::new(Mutex::new(Some(permit))));
    request.extensions_mut().insert(place.clone());
    let response = next.run(request).await;
    place.release();
    response
}

/// The requests that wait for something to happen: streams, and callers whose answer is held.
#[derive(Debug, Clone)]
pub struct HeldRequests(Arc<Semaphore>);

/// The place of a request among those that wait.
#[derive(Debug)]
pub(crate) struct HeldPlace {
    _permit: OwnedSemaphorePermit,
}

impl HeldRequests {
    /// Allows `limit` requests to wait at once.
    #[must_use]
    pub fn at_most(limit: usize) -> Self {
        Self(Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))))
    }

    /// A place, or 503 if all are taken.
    pub(crate) fn hold(&self) -> Result<HeldPlace, HttpError> {
        match self.0.clone().try_acquire_owned() {
            Ok(permit) => Ok(HeldPlace { _permit: permit }),
            Err(_full) => Err(HttpError::overloaded()),
        }
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
