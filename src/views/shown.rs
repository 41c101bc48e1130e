//! The rows of other tables that a render is shown with, as composite types of Postgres: the fields are those of the type, in
//! its order. Text that this version does not know is an error of that render only.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use sqlx::Decode;
use uuid::Uuid;

use super::row::{UnreadableRow, file_path};
use super::view::{
    CreditsView, DownloadError, DownloadView, NotificationView, ObjectView, TransferProgress, TransitionView,
};
use crate::archive::Store;
use crate::domain::{DownloadState, NotificationId, ObjectKey};
use crate::runtime::composite_type;

/// A row of `credits`.
#[derive(Debug, Decode)]
pub(super) struct ShownCredits {
    value: i64,
    status: Option<String>,
    source: String,
    at: DateTime<Utc>,
}

/// A row of `downloads`.
#[derive(Debug, Decode)]
pub(super) struct ShownDownload {
    index: i32,
    state: String,
    key: String,
    content_type: Option<String>,
    size_bytes: Option<i64>,
    sha256: Option<String>,
    stored_at: Option<DateTime<Utc>>,
    attempts: i32,
    due_at: Option<DateTime<Utc>>,
    error_code: Option<String>,
    error_message: Option<String>,
    bytes_done: Option<i64>,
    bytes_total: Option<i64>,
}

/// A row of `transitions`.
#[derive(Debug, Decode)]
pub(super) struct ShownTransition {
    from_status: Option<String>,
    to_status: String,
    source: String,
    event_type: Option<String>,
    at: DateTime<Utc>,
    lag_ms: Option<i64>,
}

/// A row of `notifications` that is posted.
#[derive(Debug, Decode)]
pub(super) struct ShownNotification {
    id: Uuid,
    r#type: String,
    state: String,
    attempts: i32,
    due_at: Option<DateTime<Utc>>,
    delivered_at: Option<DateTime<Utc>>,
    error: Option<String>,
}

composite_type!(ShownCredits, "shown_credits");
composite_type!(ShownDownload, "shown_download");
composite_type!(ShownTransition, "shown_transition");
composite_type!(ShownNotification, "shown_notification");

/// Parses text; the error names the column of [`super::row::RenderRow`].
fn parsed<T: FromStr>(text: &str, column: &'static str) -> Result<T, UnreadableRow> {
    text.parse().map_err(|_| UnreadableRow(column))
}

fn parsed_option<T: FromStr>(text: Option<&str>, column: &'static str) -> Result<Option<T>, UnreadableRow> {
    text.map(|text| parsed(text, column)).transpose()
}

impl ShownCredits {
    pub(super) fn view(self) -> Result<CreditsView, UnreadableRow> {
        let (status, source) = (parsed_option(self.status.as_deref(), "credits")?, parsed(&self.source, "credits")?);
        Ok(CreditsView { value: self.value, status, source, at: self.at })
    }
}

impl ShownTransition {
    pub(super) fn view(self) -> Result<TransitionView, UnreadableRow> {
        Ok(TransitionView {
            from: parsed_option(self.from_status.as_deref(), "transitions")?,
            to: parsed(&self.to_status, "transitions")?,
            source: parsed(&self.source, "transitions")?,
            event: self.event_type,
            at: self.at,
            lag_ms: self.lag_ms,
        })
    }
}

impl ShownNotification {
    pub(super) fn view(self) -> Result<NotificationView, UnreadableRow> {
        Ok(NotificationView {
            id: NotificationId::new(self.id),
            r#type: parsed(&self.r#type, "notifications")?,
            state: parsed(&self.state, "notifications")?,
            attempts: self.attempts,
            next_attempt_at: self.due_at,
            delivered_at: self.delivered_at,
            error: self.error,
        })
    }
}

impl ShownDownload {
    /// The view of a file of the render with this id, with its object in `store`.
    pub(super) fn view(self, id: &str, store: &Store) -> Result<DownloadView, UnreadableRow> {
        let key = ObjectKey::from_row(self.key);
        let state = parsed(&self.state, "downloads")?;
        let is = |other| state == other;
        Ok(DownloadView {
            index: self.index,
            state,
            url: file_path(id, self.index),
            object: is(DownloadState::Stored).then(|| ObjectView { url: store.url(&key), key: key.to_string() }),
            content_type: self.content_type,
            size_bytes: self.size_bytes,
            sha256: self.sha256,
            stored_at: self.stored_at,
            attempts: self.attempts,
            progress: self
                .bytes_done
                .filter(|_| is(DownloadState::Downloading))
                .map(|bytes_done| TransferProgress { bytes_done, bytes_total: self.bytes_total }),
            next_attempt_at: self.due_at.filter(|_| is(DownloadState::Pending)),
            error: self.error_code.zip(self.error_message).map(|(code, message)| DownloadError { code, message }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_unreadable_column() {
        let credits = |status: &str| ShownCredits {
            value: 450,
            status: Some(status.to_owned()),
            source: "webhook".to_owned(),
            at: DateTime::UNIX_EPOCH,
        };
        assert_eq!(credits("complete").view().map(|view| view.value), Ok(450));
        assert_eq!(credits("archived").view().map(|view| view.value), Err(UnreadableRow("credits")));
    }
}
