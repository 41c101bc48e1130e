//! What the application is notified of, and when: pure functions of what changed.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::archive_state::FileCounts;
use super::render::{Status, string_enum};

/// The id of a notification, which is its `webhook-id`: the same in every attempt, so that a receiver recognizes a
/// repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ToSchema)]
#[schema(value_type = String, pattern = "^msg_[0-9a-f]{32}$", example = "msg_0b54e0c64f0b4b0f9a6b0f6a3f5d7c11")]
pub struct NotificationId(Uuid);

impl NotificationId {
    /// The notification with this id in the database.
    #[must_use]
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "msg_{}", self.0.simple())
    }
}

impl Serialize for NotificationId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How far posting a notification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotificationState {
    /// It will be posted, or posted again.
    Pending,
    /// The application accepted it.
    Delivered,
    /// It has failed for good.
    Failed,
}

impl NotificationState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Failed];

    /// The name in the API and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

string_enum!(NotificationState);

/// The type of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum NotificationType {
    /// The render is complete, and every file is stored.
    #[serde(rename = "render.ready")]
    Ready,
    /// The render is complete, every file is stored or has failed, and at least one has failed, or fewer came than Magic Hour
    /// announced.
    #[serde(rename = "render.incomplete")]
    Incomplete,
    /// The status became `error`.
    #[serde(rename = "render.failed")]
    Failed,
    /// The status became `canceled`.
    #[serde(rename = "render.canceled")]
    Canceled,
    /// The status changed.
    #[serde(rename = "render.moved")]
    Moved,
    /// A file was stored.
    #[serde(rename = "download.stored")]
    DownloadStored,
    /// A file has failed.
    #[serde(rename = "download.failed")]
    DownloadFailed,
}

impl NotificationType {
    /// Every type.
    pub const ALL: [Self; 7] = [
        Self::Ready,
        Self::Incomplete,
        Self::Failed,
        Self::Canceled,
        Self::Moved,
        Self::DownloadStored,
        Self::DownloadFailed,
    ];

    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "render.ready",
            Self::Incomplete => "render.incomplete",
            Self::Failed => "render.failed",
            Self::Canceled => "render.canceled",
            Self::Moved => "render.moved",
            Self::DownloadStored => "download.stored",
            Self::DownloadFailed => "download.failed",
        }
    }

    /// Whether it can be posted to `NOTIFY_URL`; the others are only in the feed.
    #[must_use]
    pub const fn can_be_posted(self) -> bool {
        match self {
            Self::Ready | Self::Incomplete | Self::Failed | Self::Canceled | Self::Moved => true,
            Self::DownloadStored | Self::DownloadFailed => false,
        }
    }
}

string_enum!(NotificationType);

/// A notification, with the details of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notification {
    /// See [`NotificationType::Ready`].
    Ready,
    /// See [`NotificationType::Incomplete`].
    Incomplete,
    /// See [`NotificationType::Failed`].
    Failed,
    /// See [`NotificationType::Canceled`].
    Canceled,
    /// See [`NotificationType::Moved`].
    Moved {
        /// The status before; `None` for the first one.
        from: Option<Status>,
        /// The status after.
        to: Status,
    },
    /// See [`NotificationType::DownloadStored`].
    DownloadStored {
        /// Which of the render's files, from 0.
        index: i32,
    },
    /// See [`NotificationType::DownloadFailed`].
    DownloadFailed {
        /// Which of the render's files, from 0.
        index: i32,
    },
}

impl Notification {
    /// Its type.
    #[must_use]
    pub const fn notification_type(self) -> NotificationType {
        match self {
            Self::Ready => NotificationType::Ready,
            Self::Incomplete => NotificationType::Incomplete,
            Self::Failed => NotificationType::Failed,
            Self::Canceled => NotificationType::Canceled,
            Self::Moved { .. } => NotificationType::Moved,
            Self::DownloadStored { .. } => NotificationType::DownloadStored,
            Self::DownloadFailed { .. } => NotificationType::DownloadFailed,
        }
    }

    /// What a transition is reported by, in order.
    pub fn of_transition(from: Option<Status>, to: Status) -> impl Iterator<Item = Self> {
        let end = match to {
            Status::Draft | Status::Queued | Status::Rendering | Status::Complete => None,
            Status::Error => Some(Self::Failed),
            Status::Canceled => Some(Self::Canceled),
        };
        std::iter::once(Self::Moved { from, to }).chain(end)
    }

    /// What is reported when a render's status and files change from `before` to `after`, beside its transitions.
    #[must_use]
    pub fn of_files(before: Progress, after: Progress) -> Option<Self> {
        let result = after.result()?;
        (before.result() != Some(result) || before.files != after.files).then_some(result)
    }
}

/// How far a render and its files are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Its status, if one is known.
    pub status: Option<Status>,
    /// Its files.
    pub files: FileCounts,
    /// Whether Magic Hour was asked for the missing files, and has no more.
    pub shortage_confirmed: bool,
}

impl Progress {
    /// What became of a complete render's files, once each is stored or has failed.
    fn result(self) -> Option<Notification> {
        let FileCounts { total, failed, missing, .. } = self.files;
        let is_settled = total > 0 && self.files.unsettled() == 0 && (missing == 0 || self.shortage_confirmed);
        match self.status {
            Some(Status::Complete) if is_settled && failed == 0 && missing == 0 => Some(Notification::Ready),
            Some(Status::Complete) if is_settled => Some(Notification::Incomplete),
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(status: Status, total: i32, stored: i32, failed: i32) -> Progress {
        let files = FileCounts { total, stored, failed, missing: 0 };
        Progress { status: Some(status), files, shortage_confirmed: false }
    }

    #[test]
    fn every_transition_is_reported_and_failures_have_a_type_of_their_own() {
        let types = |to| {
            let all = Notification::of_transition(Some(Status::Queued), to);
            all.map(Notification::notification_type).collect::<Vec<_>>()
        };
        assert_eq!(types(Status::Rendering), [NotificationType::Moved]);
        assert_eq!(types(Status::Complete), [NotificationType::Moved]);
        assert_eq!(types(Status::Error), [NotificationType::Moved, NotificationType::Failed]);
        assert_eq!(types(Status::Canceled), [NotificationType::Moved, NotificationType::Canceled]);
    }

    #[test]
    fn the_files_of_a_complete_render_are_reported_once_all_are_settled() {
        use Status::{Complete, Rendering};
        let table = [
            (progress(Complete, 2, 0, 0), progress(Complete, 2, 1, 0), None),
            (progress(Complete, 2, 1, 0), progress(Complete, 2, 2, 0), Some(Notification::Ready)),
            (progress(Complete, 2, 0, 0), progress(Complete, 2, 0, 1), None),
            (progress(Complete, 2, 1, 0), progress(Complete, 2, 1, 1), Some(Notification::Incomplete)),
            (progress(Complete, 2, 0, 1), progress(Complete, 2, 0, 2), Some(Notification::Incomplete)),
            // Nothing new.
            (progress(Complete, 2, 2, 0), progress(Complete, 2, 2, 0), None),
            // After a retry.
            (progress(Complete, 2, 1, 1), progress(Complete, 2, 1, 0), None),
            (progress(Complete, 2, 1, 0), progress(Complete, 2, 2, 0), Some(Notification::Ready)),
            // A file that came later makes the render unready, and its end is news.
            (progress(Complete, 1, 1, 0), progress(Complete, 2, 1, 0), None),
            (progress(Complete, 1, 1, 0), progress(Complete, 2, 1, 1), Some(Notification::Incomplete)),
            // Without files, and before it is complete, there is nothing to report.
            (progress(Rendering, 0, 0, 0), progress(Complete, 0, 0, 0), None),
            (progress(Rendering, 1, 0, 0), progress(Rendering, 1, 1, 0), None),
            (progress(Rendering, 1, 1, 0), progress(Complete, 1, 1, 0), Some(Notification::Ready)),
        ];
        for (before, after, expected) in table {
            assert_eq!(Notification::of_files(before, after), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_shortage_of_files_is_reported_once_magic_hour_has_confirmed_it() {
        let short = |stored, shortage_confirmed| Progress {
            status: Some(Status::Complete),
            files: FileCounts { total: 3, stored, failed: 0, missing: 1 },
            shortage_confirmed,
        };
        for (before, after, expected) in [
            (short(2, false), short(3, false), None),
            (short(3, false), short(3, true), Some(Notification::Incomplete)),
            (short(2, true), short(3, true), Some(Notification::Incomplete)),
            (short(3, true), short(3, true), None),
        ] {
            assert_eq!(Notification::of_files(before, after), expected, "{before:?} {after:?}");
        }
    }
}
