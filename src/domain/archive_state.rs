//! How much of a render is in the store: a pure function of its status and its file counts.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::render::{Kind, Status, string_enum};

/// How much of a render is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[schema(as = Archive)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum ArchiveState {
    /// The render is not complete, so there is nothing to store.
    None,
    /// The render is complete, but we have no URLs for its files.
    AwaitingUrls,
    /// No file is stored yet.
    Pending,
    /// Some files are stored; the others are pending, failed, or missing: fewer images came than Magic Hour announced.
    Partial,
    /// Every file is stored.
    Stored,
    /// Every file failed; none is retried automatically.
    Failed,
}

/// How many files a render has. Those neither stored nor failed are pending or being downloaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// All files.
    pub total: i32,
    /// Files that are entirely in the store.
    pub stored: i32,
    /// Files that failed for good and are not retried automatically.
    pub failed: i32,
    /// Images that Magic Hour announced (`image_count`) and does not list. They have no row in `downloads`.
    pub missing: i32,
}

impl FileCounts {
    /// Files that are neither stored nor failed.
    #[must_use]
    pub const fn unsettled(self) -> i32 {
        self.total - self.stored - self.failed
    }

    /// The counts of a render for which Magic Hour announced `image_count` images. Only images are announced; as long as no
    /// file is listed, none counts as missing, because then all URLs are awaited.
    #[must_use]
    pub fn with_announced(self, kind: Kind, image_count: Option<i32>) -> Self {
        let missing = match kind {
            Kind::Image if self.total > 0 => {
                image_count.map_or(0, |announced| announced.saturating_sub(self.total).max(0))
            }
            Kind::Image | Kind::Video | Kind::Audio => 0,
        };
        Self { missing, ..self }
    }
}

impl ArchiveState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::None, Self::AwaitingUrls, Self::Pending, Self::Partial, Self::Stored, Self::Failed];

    /// The archive state of a render with this status and these files.
    ///
    /// ```
    /// use renderhook::domain::{ArchiveState, FileCounts, Status};
    /// let files = FileCounts { total: 2, stored: 1, ..FileCounts::default() };
    /// assert_eq!(ArchiveState::of(Some(Status::Complete), files), ArchiveState::Partial);
    /// ```
    #[must_use]
    pub fn of(status: Option<Status>, files: FileCounts) -> Self {
        match files {
            FileCounts { total: 0, .. } if status == Some(Status::Complete) => Self::AwaitingUrls,
            FileCounts { total: 0, .. } => Self::None,
            FileCounts { total, stored, missing: 0, .. } if stored == total => Self::Stored,
            FileCounts { total, failed, .. } if failed == total => Self::Failed,
            FileCounts { stored: 0, .. } => Self::Pending,
            FileCounts { .. } => Self::Partial,
        }
    }

    /// The string used in HTTP answers and database rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::AwaitingUrls => "awaiting_urls",
            Self::Pending => "pending",
            Self::Partial => "partial",
            Self::Stored => "stored",
            Self::Failed => "failed",
        }
    }
}

string_enum!(ArchiveState);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_combination_of_status_and_file_counts_has_its_archive_state() {
        let complete = Some(Status::Complete);
        // The status, then the number of files: total, stored, failed.
        let table = [
            (None, (0, 0, 0), ArchiveState::None),
            (Some(Status::Rendering), (0, 0, 0), ArchiveState::None),
            (Some(Status::Error), (0, 0, 0), ArchiveState::None),
            (complete, (0, 0, 0), ArchiveState::AwaitingUrls),
            (complete, (1, 0, 0), ArchiveState::Pending),
            (complete, (2, 0, 1), ArchiveState::Pending),
            (None, (2, 0, 1), ArchiveState::Pending),
            (complete, (2, 1, 0), ArchiveState::Partial),
            (complete, (3, 1, 1), ArchiveState::Partial),
            (complete, (2, 1, 1), ArchiveState::Partial),
            (complete, (1, 1, 0), ArchiveState::Stored),
            (complete, (2, 2, 0), ArchiveState::Stored),
            (complete, (2, 0, 2), ArchiveState::Failed),
        ];
        for (status, (total, stored, failed), expected) in table {
            let files = FileCounts { total, stored, failed, missing: 0 };
            assert_eq!(ArchiveState::of(status, files), expected, "{status:?} {files:?}");
        }
    }

    #[test]
    fn a_render_with_fewer_images_than_announced_is_never_stored() {
        let files = |total, stored, failed| FileCounts { total, stored, failed, missing: 0 };
        for (kind, announced, files, missing, expected) in [
            (Kind::Image, Some(4), files(3, 3, 0), 1, ArchiveState::Partial),
            (Kind::Image, Some(4), files(3, 0, 0), 1, ArchiveState::Pending),
            (Kind::Image, Some(4), files(3, 0, 3), 1, ArchiveState::Failed),
            (Kind::Image, Some(4), files(4, 4, 0), 0, ArchiveState::Stored),
            (Kind::Image, Some(4), files(5, 5, 0), 0, ArchiveState::Stored),
            (Kind::Image, Some(4), files(0, 0, 0), 0, ArchiveState::AwaitingUrls),
            (Kind::Image, Some(i32::MIN), files(1, 1, 0), 0, ArchiveState::Stored),
            (Kind::Image, None, files(1, 1, 0), 0, ArchiveState::Stored),
            (Kind::Video, Some(4), files(1, 1, 0), 0, ArchiveState::Stored),
        ] {
            let files = files.with_announced(kind, announced);
            let actual = (files.missing, ArchiveState::of(Some(Status::Complete), files));
            assert_eq!(actual, (missing, expected), "{kind} {announced:?} {files:?}");
        }
    }
}
