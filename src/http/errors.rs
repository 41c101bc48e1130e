//! Error answers: Magic Hour's own shape, `{"message": "…"}`, with a sentence that says what to do.
//!
//! The sentences are constant or made of what the caller sent. The cause of an internal failure goes to the log, once,
//! and never into an answer.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::runtime::DatabaseError;

/// The body of every error, and of the webhook's answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Message {
    /// A sentence.
    pub message: String,
}

/// What every route that needs a token may answer, for the OpenAPI document.
#[derive(Debug, IntoResponses)]
pub enum Guarded {
    /// The request has no token, or none of `API_TOKENS`.
    #[response(status = 401)]
    Unauthorized(Message),
    /// A failure of the service, such as an unreachable database, or overload. `Retry-After` says when to ask again.
    #[response(status = 503)]
    Unavailable(Message),
}

/// Why the service failed to answer, for the log line of the answer: an extension of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There was no room for the request.
    Overloaded,
    /// A handler panicked.
    Panicked,
}

impl Failure {
    /// The word in the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::Panicked => "panicked",
        }
    }
}

/// An error answer.
#[derive(Debug)]
pub struct HttpError {
    status: StatusCode,
    message: String,
    failure: Option<Failure>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl HttpError {
    /// An error with `status` and a sentence.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), failure: None, header: None }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401. `challenge` is the value of `WWW-Authenticate`, which RFC 9110 requires.
    #[must_use]
    pub fn unauthorized(challenge: &'static str, message: impl Into<String>) -> Self {
        Self {
            header: Some((header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))),
            ..Self::new(StatusCode::UNAUTHORIZED, message)
        }
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 503 for an internal failure; the client should ask again.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::retry_later("renderhook cannot answer right now: send it again")
    }

    /// 503 for a request that does not fit at the moment; the client should ask again.
    #[must_use]
    pub fn overloaded() -> Self {
        Self { failure: Some(Failure::Overloaded), ..Self::retry_later("renderhook is overloaded: send it again") }
    }

    /// 503 after a panic. Never 500, so that Magic Hour sends the event again.
    pub(crate) fn panicked() -> Self {
        Self { failure: Some(Failure::Panicked), ..Self::unavailable() }
    }

    fn retry_later(message: &'static str) -> Self {
        Self {
            header: Some((header::RETRY_AFTER, HeaderValue::from_static("1"))),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
        }
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
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
        if let Some(failure) = self.failure {
            response.extensions_mut().insert(failure);
        }
        response
    }
}
