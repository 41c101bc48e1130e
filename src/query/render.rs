//! A render, as every answer tells it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgPool;

use super::archive::Archive;
use super::row::told;
use crate::render::RenderId;
use crate::store::Store;

/// A render as `GET /renders/{id}` answers it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Render {
    pub(super) id: String,
    pub(super) kind: String,
    /// `null` until somebody has told a status that this version knows.
    pub(super) status: Option<String>,
    pub(super) r#type: Option<String>,
    pub(super) name: Option<String>,
    pub(super) deleted: bool,
    pub(super) external_id: Option<String>,
    pub(super) metadata: Value,
    /// `{code, message}` as Magic Hour gave it.
    pub(super) error: Option<Value>,
    pub(super) credits_charged: Option<i64>,
    /// How the credits came to it: an estimate, the final figure, a refund.
    pub(super) credits: Vec<Figure>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    /// Since when Magic Hour says that it does not know the render.
    pub(super) not_found_at: Option<DateTime<Utc>>,
    /// Since when it is known to stay unfinished.
    pub(super) stalled_at: Option<DateTime<Utc>>,
    pub(super) archive: Archive,
    pub(super) downloads: Vec<Download>,
    pub(super) transitions: Vec<Transition>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Download {
    pub(super) index: i32,
    pub(super) state: State,
    pub(super) url: String,
    pub(super) object: Option<Object>,
    pub(super) content_type: Option<String>,
    pub(super) size_bytes: Option<i64>,
    pub(super) sha256: Option<String>,
    pub(super) stored_at: Option<DateTime<Utc>>,
    pub(super) attempts: i32,
    pub(super) next_attempt_at: Option<DateTime<Utc>>,
    pub(super) error: Option<DownloadError>,
}

/// A download's state, as its row says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Pending,
    Downloading,
    Stored,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Object {
    pub(super) url: String,
    pub(super) key: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct DownloadError {
    pub(super) code: String,
    pub(super) message: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Transition {
    from: Option<String>,
    to: String,
    source: String,
    event: Option<String>,
    at: DateTime<Utc>,
    lag_ms: Option<i64>,
}

/// Credits as they were told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Figure {
    value: i64,
    /// The status that came with the figure.
    status: Option<String>,
    source: String,
    at: DateTime<Utc>,
}

/// Reads a render with its downloads and transitions; `None` if nobody has told of it.
pub async fn render(pool: &PgPool, store: &Store, id: &RenderId) -> sqlx::Result<Option<Render>> {
    let row = told!("renders", "WHERE r.id = $1", id.as_str()).fetch_optional(pool).await?;
    Ok(row.map(|row| row.shown(store)))
}

impl Render {
    /// Whether nothing more is to be expected: it has failed or was canceled, or it is complete and each of its files
    /// is stored or has failed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match self.status.as_deref() {
            Some("error" | "canceled") => true,
            Some("complete") => {
                !self.downloads.is_empty()
                    && self.downloads.iter().all(|download| matches!(download.state, State::Stored | State::Failed))
            }
            _ => false,
        }
    }
}
