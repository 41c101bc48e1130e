//! An error of the API, as Magic Hour answers it.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error: `{"message": "…"}` with a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::standin) struct ApiError {
    status: StatusCode,
    message: String,
    /// In seconds.
    retry_after: Option<u32>,
}

impl ApiError {
    /// With the documented message of the status.
    pub(in crate::standin) fn new(status: StatusCode) -> Self {
        let message = match status {
            StatusCode::PAYMENT_REQUIRED => "Payment required",
            status => status.canonical_reason().unwrap_or("Refused"),
        };
        Self { status, message: message.to_owned(), retry_after: None }
    }

    pub(in crate::standin) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND)
    }

    /// The request is not what the API takes.
    pub(in crate::standin) fn invalid(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::new(StatusCode::BAD_REQUEST) }
    }

    /// The request is what the API takes, and cannot be done.
    pub(in crate::standin) fn unprocessable(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY) }
    }

    /// The request comes too late.
    pub(in crate::standin) fn conflict(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::new(StatusCode::CONFLICT) }
    }

    pub(in crate::standin) const fn with_retry_after(mut self, seconds: Option<u32>) -> Self {
        self.retry_after = seconds;
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut answer = (self.status, Json(json!({"message": self.message}))).into_response();
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        answer
    }
}
