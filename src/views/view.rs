//! A render in the API's answers.

use chrono::{DateTime, Utc};
use serde::Serialize;
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
    pub(crate) id: String,
    pub(crate) kind: Kind,
    /// `null` until a status is reported that this version knows.
    #[schema(required = true)]
    pub(crate) status: Option<Status>,
    /// Magic Hour's project type.
    #[schema(required = true, example = "FACE_SWAP")]
    pub(crate) r#type: Option<String>,
    #[schema(required = true)]
    pub(crate) name: Option<String>,
    /// Whether the project was deleted at Magic Hour.
    pub(crate) deleted: bool,
    /// The application's own id for the render.
    #[schema(required = true, example = "order-17")]
    pub(crate) external_id: Option<String>,
    /// The JSON object that the application stored with the render, exactly as written.
    #[schema(value_type = std::collections::HashMap<String, serde_json::Value>)]
    pub(crate) metadata: Box<RawValue>,
    #[schema(required = true)]
    pub(crate) error: Option<RenderError>,
    /// An estimate until the render has ended.
    #[schema(required = true, example = 450)]
    pub(crate) credits_charged: Option<i64>,
    /// The history of `credits_charged`, oldest first: an estimate, the final figure, a refund.
    pub(crate) credits: Vec<CreditsView>,
    /// When the project was created at Magic Hour. Until that is known, when renderhook first saw the render.
    pub(crate) created_at: DateTime<Utc>,
    /// When something about the render or one of its downloads last changed.
    pub(crate) updated_at: DateTime<Utc>,
    /// Since when Magic Hour has reported that it does not know the render.
    #[schema(required = true)]
    pub(crate) not_found_at: Option<DateTime<Utc>>,
    /// Since when the render has been unfinished for too long.
    #[schema(required = true)]
    pub(crate) stalled_at: Option<DateTime<Utc>>,
    /// In pixels; `null` where Magic Hour does not say.
    #[schema(required = true, example = 512)]
    pub(crate) width: Option<i32>,
    #[schema(required = true, example = 960)]
    pub(crate) height: Option<i32>,
    /// Frames per second, an estimate until the render is complete.
    #[schema(required = true, value_type = Option<f64>, example = 30)]
    pub(crate) fps: Option<Measure>,
    /// Where the clip starts in its source.
    #[schema(required = true, value_type = Option<f64>, example = 0)]
    pub(crate) start_seconds: Option<Measure>,
    /// Where the clip ends in its source.
    #[schema(required = true, value_type = Option<f64>, example = 15)]
    pub(crate) end_seconds: Option<Measure>,
    /// How many images Magic Hour announced. With fewer downloads, `archive` is never `stored`.
    #[schema(required = true)]
    pub(crate) image_count: Option<i32>,
    pub(crate) links: LinksView,
    /// Since when the render is erased: nothing is left of it but this.
    #[schema(required = true)]
    pub(crate) erased_at: Option<DateTime<Utc>>,
    pub(crate) archive: ArchiveState,
    pub(crate) downloads: Vec<DownloadView>,
    pub(crate) transitions: Vec<TransitionView>,
    /// The notifications posted to the application, oldest first. Only where a single render is returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) notifications: Option<Vec<NotificationView>>,
    /// Whether fewer files came than announced, and Magic Hour is still to be asked.
    #[serde(skip)]
    pub(crate) awaits_files: bool,
}

/// Pages about a render.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RenderLinks)]
pub(crate) struct LinksView {
    /// The page in Magic Hour's web app, where a person can cancel or delete the project.
    #[schema(example = "https://magichour.ai/my-library?videoId=clx123")]
    pub(crate) magic_hour: String,
}

/// A notification that is posted to the application.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = PostedNotification)]
pub(crate) struct NotificationView {
    /// The `webhook-id`.
    pub(crate) id: NotificationId,
    pub(crate) r#type: NotificationType,
    pub(crate) state: NotificationState,
    /// The number of attempts that were started.
    pub(crate) attempts: i32,
    /// When the next attempt is due, while it is `pending`.
    #[schema(required = true)]
    pub(crate) next_attempt_at: Option<DateTime<Utc>>,
    #[schema(required = true)]
    pub(crate) delivered_at: Option<DateTime<Utc>>,
    /// Why the last attempt failed.
    #[schema(required = true)]
    pub(crate) error: Option<String>,
}

/// A file of a render.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Download)]
pub(crate) struct DownloadView {
    /// The index in Magic Hour's `downloads`, from 0.
    pub(crate) index: i32,
    pub(crate) state: DownloadState,
    /// The path of the file in this API, which works once the file is stored.
    #[schema(example = "/renders/clx123/downloads/0")]
    pub(crate) url: String,
    #[schema(required = true)]
    pub(crate) object: Option<ObjectView>,
    #[schema(required = true, example = "video/mp4")]
    pub(crate) content_type: Option<String>,
    #[schema(required = true, example = 156_514)]
    pub(crate) size_bytes: Option<i64>,
    /// The SHA-256 of the file, in hex.
    #[schema(required = true)]
    pub(crate) sha256: Option<String>,
    #[schema(required = true)]
    pub(crate) stored_at: Option<DateTime<Utc>>,
    /// The number of attempts, not counting those that were returned to the queue.
    pub(crate) attempts: i32,
    /// How far the transfer is, while the download is `downloading`; saved every few seconds.
    #[schema(required = true)]
    pub(crate) progress: Option<TransferProgress>,
    /// When the next attempt is due, while the download is `pending`.
    #[schema(required = true)]
    pub(crate) next_attempt_at: Option<DateTime<Utc>>,
    /// The error of the last failed attempt, until the file is stored.
    #[schema(required = true)]
    pub(crate) error: Option<DownloadError>,
}

/// How far a transfer is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct TransferProgress {
    /// How many bytes of the file have passed.
    #[schema(example = 8_388_608)]
    pub(crate) bytes_done: i64,
    /// The length of the file; `null` if its server does not say.
    #[schema(required = true, example = 20_971_520)]
    pub(crate) bytes_total: Option<i64>,
}

/// A file's object in the store.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = StoredObject)]
pub(crate) struct ObjectView {
    /// The URL for programs with their own access to the store.
    #[schema(example = "s3://bucket/prefix/video/clx123/0-output.mp4")]
    pub(crate) url: String,
    /// The key, relative to `STORAGE_URL`.
    #[schema(example = "video/clx123/0-output.mp4")]
    pub(crate) key: String,
}

/// Why the last attempt at a download failed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct DownloadError {
    /// A stable code.
    #[schema(example = "http_404")]
    pub(crate) code: String,
    /// A message for people.
    pub(crate) message: String,
}

/// A change of a render's status.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Transition)]
pub(crate) struct TransitionView {
    #[schema(required = true)]
    pub(crate) from: Option<Status>,
    pub(crate) to: Status,
    pub(crate) source: Source,
    /// The type of the event that reported it; `null` for a poll.
    #[schema(required = true, example = "video.completed")]
    pub(crate) event: Option<String>,
    /// When it was recorded.
    pub(crate) at: DateTime<Utc>,
    /// The milliseconds between the event's timestamp and its arrival.
    #[schema(required = true)]
    pub(crate) lag_ms: Option<i64>,
}

/// A change of the credits charged.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = CreditsChange)]
pub(crate) struct CreditsView {
    pub(crate) value: i64,
    /// The status that was reported together with the value.
    #[schema(required = true)]
    pub(crate) status: Option<Status>,
    pub(crate) source: Source,
    pub(crate) at: DateTime<Utc>,
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
