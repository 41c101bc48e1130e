//! A request's body, collected whole: bounded in length and in time, so that nobody holds memory or a handler for long.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::http::errors::HttpError;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(4);

/// Collects a body of at most `limit` bytes; `too_large` is the refusal of a longer one.
pub(crate) async fn whole(body: Body, limit: usize, too_large: impl FnOnce() -> HttpError) -> Result<Bytes, HttpError> {
    match timeout(PATIENCE, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(HttpError::bad_request("the body ended before it was whole: send it again")),
        Err(_elapsed) => {
            Err(HttpError::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 4 s: send it again"))
        }
    }
}
