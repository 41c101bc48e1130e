//! Answers that say no: Magic Hour's own shape, `{"message": "…"}`, with a sentence that says what to do.
//!
//! The sentences are constant or made of what the caller sent; the cause of our own trouble goes to the log, once, and
//! never into an answer.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::runtime::DatabaseError;

/// The body of every refusal, and of the webhook's answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Message {
    /// A sentence.
    pub message: String,
}

/// What every address that needs a token may answer, for the OpenAPI document.
#[derive(Debug, IntoResponses)]
pub enum Guarded {
    /// No token was shown, or none of `API_TOKENS`.
    #[response(status = 401)]
    Stranger(Message),
    /// The service's own trouble, such as a database that is away. `Retry-After` says when to ask again.
    #[response(status = 503)]
    UpstreamError(Message),
}

/// An answer that says no.
#[derive(Debug)]
pub struct HttpError {
    status: StatusCode,
    message: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl HttpError {
    /// Refuses with `status` and a sentence.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), header: None }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401 to who asks without a token.
    #[must_use]
    pub fn unauthorized() -> Self {
        let message = "send `Authorization: Bearer TOKEN` with one of the tokens in API_TOKENS";
        Self {
            header: Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            ..Self::new(StatusCode::UNAUTHORIZED, message)
        }
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 503: our own trouble. Whoever asked may ask again.
    #[must_use]
    pub fn unavailable() -> Self {
        Self {
            header: Some((header::RETRY_AFTER, HeaderValue::from_static("1"))),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "renderhook cannot answer right now: send it again")
        }
    }

    /// The sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<DatabaseError> for HttpError {
    fn from(_: DatabaseError) -> Self {
        Self::unavailable()
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Message { message: self.message })).into_response();
        response.headers_mut().extend(self.header);
        response
    }
}
