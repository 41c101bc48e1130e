//! How much of a render is in the store: a pure function of its status and its file counts.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::render::{Status, string_enum};

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
    /// Some files are stored; the others are pending or failed.
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
}

impl FileCounts {
    /// Files that are neither stored nor failed.
    #[must_use]
    pub const fn unsettled(self) -> i32 {
        self.total - self.stored - self.failed
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
    /// let files = FileCounts { total: 2, stored: 1, failed: 0 };
    /// assert_eq!(ArchiveState::of(Some(Status::Complete), files), ArchiveState::Partial);
    /// ```
    #[must_use]
    pub fn of(status: Option<Status>, files: FileCounts) -> Self {
        match files {
            FileCounts { total: 0, .. } if status == Some(Status::Complete) => Self::AwaitingUrls,
            FileCounts { total: 0, .. } => Self::None,
            FileCounts { total, stored, .. } if stored == total => Self::Stored,
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
            let files = FileCounts { total, stored, failed };
            assert_eq!(ArchiveState::of(status, files), expected, "{status:?} {files:?}");
        }
    }
}
