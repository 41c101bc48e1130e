//! Error answers in Magic Hour's own format, `{"message": "…"}`, with a message that says what to do.
//!
//! Messages are constant or only contain what the caller sent. The cause of an internal error is logged once, and never
//! sent to a client.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::runtime::DatabaseError;

/// The body of every error, and of the webhook's answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Message {
    /// A message for people.
    pub message: String,
}

/// The errors that every authenticated route may return, for the OpenAPI document.
#[derive(Debug, IntoResponses)]
pub enum CommonErrors {
    /// The request has no valid token.
    #[response(status = 401)]
    Unauthorized(Message),
    /// The request has a valid token that is not for this route. The message says which setting has those that are.
    #[response(status = 403)]
    Forbidden(Message),
    /// The service failed, for example because the database is unreachable or the service is overloaded. `Retry-After` says when to retry.
    #[response(status = 503)]
    Unavailable(Message),
}

/// Why the service could not handle a request. A response extension, for the request log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorCause {
    /// Too many requests or too much memory in use.
    Overloaded,
    /// A handler panicked.
    Panicked,
}

impl ErrorCause {
    /// The string in the log.
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
    cause: Option<ErrorCause>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl HttpError {
    /// An error with a status and a message.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), cause: None, header: None }
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

    /// 503 for an internal error. The client should retry.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::retry_later("renderhook cannot answer right now: send it again")
    }

    /// 503 if the service is overloaded. The client should retry.
    #[must_use]
    pub fn overloaded() -> Self {
        Self { cause: Some(ErrorCause::Overloaded), ..Self::retry_later("renderhook is overloaded: send it again") }
    }

    /// 503 after a panic. Not 500, so that Magic Hour sends the event again.
    pub(crate) fn panicked() -> Self {
        Self { cause: Some(ErrorCause::Panicked), ..Self::unavailable() }
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

    /// The message.
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
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(cause);
        }
        response
    }
}
