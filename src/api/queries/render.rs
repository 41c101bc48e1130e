//! A render, as every answer tells it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::ArchiveState;
use crate::domain::{Kind, Status};

/// A render, as every answer tells it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Render {
    /// Magic Hour's id of it.
    pub(super) id: String,
    #[schema(value_type = Kind)]
    pub(super) kind: String,
    /// `null` until somebody has told a status that this version knows.
    #[schema(value_type = Option<Status>, required = true)]
    pub(super) status: Option<String>,
    /// What Magic Hour calls its mode, such as `FACE_SWAP`.
    #[schema(required = true)]
    pub(super) r#type: Option<String>,
    #[schema(required = true)]
    pub(super) name: Option<String>,
    /// Whether its project was deleted at Magic Hour.
    pub(super) deleted: bool,
    /// The application's own name for it.
    #[schema(required = true)]
    pub(super) external_id: Option<String>,
    /// What the application wants back.
    #[schema(value_type = Object)]
    pub(super) metadata: Value,
    #[schema(required = true)]
    pub(super) error: Option<RenderError>,
    /// An estimate until the end.
    #[schema(required = true)]
    pub(super) credits_charged: Option<i64>,
    /// How the credits came to it: an estimate, the final figure, a refund.
    pub(super) credits: Vec<Figure>,
    /// Magic Hour's time, or when renderhook first heard of it.
    pub(super) created_at: DateTime<Utc>,
    /// When something about it or its downloads last changed.
    pub(super) updated_at: DateTime<Utc>,
    /// Since when Magic Hour says that it does not know the render.
    #[schema(required = true)]
    pub(super) not_found_at: Option<DateTime<Utc>>,
    /// Since when it is known to stay unfinished.
    #[schema(required = true)]
    pub(super) stalled_at: Option<DateTime<Utc>>,
    pub(super) archive: ArchiveState,
    pub(super) downloads: Vec<Download>,
    pub(super) transitions: Vec<Transition>,
}

/// A file of a render.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct Download {
    pub(super) index: i32,
    pub(super) state: State,
    /// Where the file is to be had, once it is stored.
    pub(super) url: String,
    #[schema(required = true)]
    pub(super) object: Option<StoredObject>,
    #[schema(required = true)]
    pub(super) content_type: Option<String>,
    #[schema(required = true)]
    pub(super) size_bytes: Option<i64>,
    #[schema(required = true)]
    pub(super) sha256: Option<String>,
    #[schema(required = true)]
    pub(super) stored_at: Option<DateTime<Utc>>,
    pub(super) attempts: i32,
    #[schema(required = true)]
    pub(super) next_attempt_at: Option<DateTime<Utc>>,
    #[schema(required = true)]
    pub(super) error: Option<DownloadError>,
}

/// A download's state, as its row says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DownloadState)]
pub(super) enum State {
    Pending,
    Downloading,
    Stored,
    Failed,
}

/// Where a file stands in the store.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct StoredObject {
    /// For people and programs that have their own access to the store.
    pub(super) url: String,
    /// Relative to `STORAGE_URL`.
    pub(super) key: String,
}

/// Why the last attempt failed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct DownloadError {
    pub(super) code: String,
    pub(super) message: String,
}

/// A move of a render's status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct Transition {
    #[schema(value_type = Option<Status>, required = true)]
    from: Option<String>,
    #[schema(value_type = Status)]
    to: String,
    source: Source,
    /// The type of the event that said so, if one did.
    #[schema(required = true)]
    event: Option<String>,
    /// When it was recorded.
    at: DateTime<Utc>,
    /// How long after its signing.
    #[schema(required = true)]
    lag_ms: Option<i64>,
}

/// Who said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    Webhook,
    Poll,
}

/// Why a render failed, as Magic Hour gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct RenderError {
    #[schema(required = true)]
    code: Option<String>,
    #[schema(required = true)]
    message: Option<String>,
}

/// Credits as they were told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct Figure {
    value: i64,
    /// The status that came with the figure.
    #[schema(value_type = Option<Status>, required = true)]
    status: Option<String>,
    source: Source,
    at: DateTime<Utc>,
}

impl RenderError {
    /// The error of a row, if it has one.
    pub(super) fn new(code: Option<String>, message: Option<String>) -> Option<Self> {
        (code.is_some() || message.is_some()).then_some(Self { code, message })
    }
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
