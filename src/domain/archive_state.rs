//! How much of a render is in the store, in one word: a pure function of its status and of its files.

use std::str::FromStr;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::render::{Status, Unknown};

/// How much of a render is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[schema(as = Archive)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum ArchiveState {
    /// The render is not complete: there is nothing to store.
    None,
    /// It is complete, and we do not know where its files are.
    AwaitingUrls,
    /// No file is stored yet.
    Pending,
    /// Some files are stored, others are not, or not yet.
    Partial,
    /// Every file is stored.
    Stored,
    /// No file is stored, and none will be by itself.
    Failed,
}

/// A render's files by how far they are; what is neither stored nor failed is pending or being downloaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// All of them.
    pub total: i32,
    /// In the store, whole.
    pub stored: i32,
    /// Not in the store, and not tried again by themselves.
    pub failed: i32,
}

impl FileCounts {
    /// How many are neither stored nor failed.
    #[must_use]
    pub const fn unsettled(self) -> i32 {
        self.total - self.stored - self.failed
    }
}

impl ArchiveState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::None, Self::AwaitingUrls, Self::Pending, Self::Partial, Self::Stored, Self::Failed];

    /// The state of a render with this status and these files.
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

    /// The word of the answers and of the rows.
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

impl FromStr for ArchiveState {
    type Err = Unknown;

    fn from_str(word: &str) -> Result<Self, Unknown> {
        Self::ALL.into_iter().find(|known| known.as_str() == word).ok_or(Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sum_of_files_has_its_state() {
        let complete = Some(Status::Complete);
        // The status; how many files there are, are stored, and have failed.
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
