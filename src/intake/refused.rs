//! Requests to `/webhook` that are not answered with 200.

use axum::http::StatusCode;

use super::metrics::WebhookLabel;
use super::record::RecordError;
use crate::domain::DeliveryOutcome;
use crate::http::HttpError;
use crate::runtime::DatabaseError;

/// What became of a request, and its answer.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) outcome: WebhookLabel,
    pub(super) error: HttpError,
}

impl Refused {
    /// Its signature headers are missing, malformed or wrong.
    pub(super) fn rejected(error: HttpError) -> Self {
        Self { outcome: WebhookLabel::Rejected, error }
    }

    /// Its body is larger than allowed.
    pub(super) fn too_large(error: HttpError) -> Self {
        Self { outcome: WebhookLabel::TooLarge, error }
    }

    /// Its body could not be read.
    pub(super) fn body(error: HttpError) -> Self {
        let outcome = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => WebhookLabel::TooLarge,
            StatusCode::SERVICE_UNAVAILABLE => WebhookLabel::Unavailable,
            _ => WebhookLabel::BodyFailed,
        };
        Self { outcome, error }
    }

    /// Its delivery is stored, and not recorded.
    pub(super) fn quarantined(outcome: DeliveryOutcome, error: HttpError) -> Self {
        Self { outcome: WebhookLabel::Delivered(outcome), error }
    }

    /// It may not have been recorded: Magic Hour sends it again.
    pub(super) fn unavailable(error: impl Into<HttpError>) -> Self {
        Self { outcome: WebhookLabel::Unavailable, error: error.into() }
    }
}

impl From<RecordError> for HttpError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::QueueFull => Self::overloaded(),
            RecordError::Database(error) => error.into(),
        }
    }
}

impl From<RecordError> for Refused {
    fn from(error: RecordError) -> Self {
        Self::unavailable(error)
    }
}

impl From<DatabaseError> for Refused {
    fn from(error: DatabaseError) -> Self {
        Self::unavailable(error)
    }
}
