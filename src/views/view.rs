//! A render in the API's answers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::domain::{
    ArchiveState, DownloadState, Kind, Measure, NotificationId, NotificationState, NotificationType, RenderError,
    Status,
};
use crate::intake::Source;

/// A render with its downloads, transitions, and credits.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Render)]
pub struct RenderView {
    /// Magic Hour's id of the render.
    #[schema(example = "clx123")]
    pub(super) id: String,
    pub(super) kind: Kind,
    /// `null` until a status is reported that this version knows.
    #[schema(required = true)]
    pub(super) status: Option<Status>,
    /// Magic Hour's project type.
    #[schema(required = true, example = "FACE_SWAP")]
    pub(super) r#type: Option<String>,
    #[schema(required = true)]
    pub(super) name: Option<String>,
    /// Whether the project was deleted at Magic Hour.
    pub(super) deleted: bool,
    /// The application's own id for the render.
    #[schema(required = true, example = "order-17")]
    pub(super) external_id: Option<String>,
    /// The JSON object that the application stored with the render, exactly as written.
    #[schema(value_type = std::collections::HashMap<String, serde_json::Value>)]
    pub(super) metadata: Box<RawValue>,
    #[schema(required = true)]
    pub(super) error: Option<RenderError>,
    /// An estimate until the render has ended.
    #[schema(required = true, example = 450)]
    pub(super) credits_charged: Option<i64>,
    /// The history of `credits_charged`, oldest first: an estimate, the final figure, a refund.
    pub(super) credits: Vec<CreditsView>,
    /// When the project was created at Magic Hour. Until that is known, when renderhook first saw the render.
    pub(super) created_at: DateTime<Utc>,
    /// When something about the render or one of its downloads last changed.
    pub(super) updated_at: DateTime<Utc>,
    /// Since when Magic Hour has reported that it does not know the render.
    #[schema(required = true)]
    pub(super) not_found_at: Option<DateTime<Utc>>,
    /// Since when the render has been unfinished for too long.
    #[schema(required = true)]
    pub(super) stalled_at: Option<DateTime<Utc>>,
    /// In pixels; `null` where Magic Hour does not say.
    #[schema(required = true, example = 512)]
    pub(super) width: Option<i32>,
    #[schema(required = true, example = 960)]
    pub(super) height: Option<i32>,
    /// Frames per second, an estimate until the render is complete.
    #[schema(required = true, value_type = Option<f64>, example = 30)]
    pub(super) fps: Option<Measure>,
    /// Where the clip starts in its source.
    #[schema(required = true, value_type = Option<f64>, example = 0)]
    pub(super) start_seconds: Option<Measure>,
    /// Where the clip ends in its source.
    #[schema(required = true, value_type = Option<f64>, example = 15)]
    pub(super) end_seconds: Option<Measure>,
    /// How many images Magic Hour announced. With fewer downloads, `archive` is never `stored`.
    #[schema(required = true)]
    pub(super) image_count: Option<i32>,
    pub(super) links: LinksView,
    pub(super) archive: ArchiveState,
    pub(super) downloads: Vec<DownloadView>,
    pub(super) transitions: Vec<TransitionView>,
    /// The notifications posted to the application, oldest first. Only where a single render is returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) notifications: Option<Vec<NotificationView>>,
    /// Whether fewer files came than announced, and Magic Hour is still to be asked.
    #[serde(skip)]
    pub(super) awaits_files: bool,
}

/// Pages about a render.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RenderLinks)]
pub(super) struct LinksView {
    /// The page in Magic Hour's web app, where a person can cancel or delete the project.
    #[schema(example = "https://magichour.ai/my-library?videoId=clx123")]
    pub(super) magic_hour: String,
}

/// A notification that is posted to the application.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = PostedNotification)]
pub(super) struct NotificationView {
    /// The `webhook-id`.
    pub(super) id: NotificationId,
    pub(super) r#type: NotificationType,
    pub(super) state: NotificationState,
    /// The number of attempts that were started.
    pub(super) attempts: i32,
    /// When the next attempt is due, while it is `pending`.
    #[schema(required = true)]
    pub(super) next_attempt_at: Option<DateTime<Utc>>,
    #[schema(required = true)]
    pub(super) delivered_at: Option<DateTime<Utc>>,
    /// Why the last attempt failed.
    #[schema(required = true)]
    pub(super) error: Option<String>,
}

/// A file of a render.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Download)]
pub(super) struct DownloadView {
    /// The index in Magic Hour's `downloads`, from 0.
    pub(super) index: i32,
    pub(super) state: DownloadState,
    /// The path of the file in this API, which works once the file is stored.
    #[schema(example = "/renders/clx123/downloads/0")]
    pub(super) url: String,
    #[schema(required = true)]
    pub(super) object: Option<ObjectView>,
    #[schema(required = true, example = "video/mp4")]
    pub(super) content_type: Option<String>,
    #[schema(required = true, example = 156_514)]
    pub(super) size_bytes: Option<i64>,
    /// The SHA-256 of the file, in hex.
    #[schema(required = true)]
    pub(super) sha256: Option<String>,
    #[schema(required = true)]
    pub(super) stored_at: Option<DateTime<Utc>>,
    /// The number of attempts, not counting those that were returned to the queue.
    pub(super) attempts: i32,
    /// When the next attempt is due, while the download is `pending`.
    #[schema(required = true)]
    pub(super) next_attempt_at: Option<DateTime<Utc>>,
    /// The error of the last failed attempt, until the file is stored.
    #[schema(required = true)]
    pub(super) error: Option<DownloadError>,
}

/// A file's object in the store.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = StoredObject)]
pub(super) struct ObjectView {
    /// The URL for programs with their own access to the store.
    #[schema(example = "s3://bucket/prefix/video/clx123/0-output.mp4")]
    pub(super) url: String,
    /// The key, relative to `STORAGE_URL`.
    #[schema(example = "video/clx123/0-output.mp4")]
    pub(super) key: String,
}

/// Why the last attempt at a download failed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct DownloadError {
    /// A stable code.
    #[schema(example = "http_404")]
    pub(super) code: String,
    /// A message for people.
    pub(super) message: String,
}

/// A change of a render's status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Transition)]
pub(super) struct TransitionView {
    #[schema(required = true)]
    from: Option<Status>,
    to: Status,
    source: Source,
    /// The type of the event that reported it; `null` for a poll.
    #[schema(required = true, example = "video.completed")]
    event: Option<String>,
    /// When it was recorded.
    at: DateTime<Utc>,
    /// The milliseconds between the event's timestamp and its arrival.
    #[schema(required = true)]
    lag_ms: Option<i64>,
}

/// A change of the credits charged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = CreditsChange)]
pub(super) struct CreditsView {
    value: i64,
    /// The status that was reported together with the value.
    #[schema(required = true)]
    status: Option<Status>,
    source: Source,
    at: DateTime<Utc>,
}

impl RenderView {
    /// How many files and transitions it shows, which is what its size depends on.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.downloads.len() + self.transitions.len()
    }

    /// Whether nothing more is expected: it failed or was canceled, or it is complete, every file is stored or failed, and
    /// Magic Hour has no more.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match self.status {
            Some(Status::Error | Status::Canceled) => true,
            Some(Status::Complete) => {
                let has_all = !self.downloads.is_empty() && !self.awaits_files;
                has_all && self.downloads.iter().all(|download| download.state.is_settled())
            }
            Some(Status::Draft | Status::Queued | Status::Rendering) | None => false,
        }
    }
}
