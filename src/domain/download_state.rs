//! The state of a download.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::render::string_enum;

/// The state of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DownloadState {
    /// Waiting for a worker.
    Pending,
    /// Claimed by a worker.
    Downloading,
    /// The whole file is in the store.
    Stored,
    /// Failed for good: not retried automatically.
    Failed,
}

impl DownloadState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Downloading, Self::Stored, Self::Failed];

    /// The string used in HTTP answers and database rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Downloading => "downloading",
            Self::Stored => "stored",
            Self::Failed => "failed",
        }
    }

    /// Whether the download is stored or has failed for good.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        match self {
            Self::Stored | Self::Failed => true,
            Self::Pending | Self::Downloading => false,
        }
    }
}

string_enum!(DownloadState);
