//! How far the copying of one file is.

use crate::domain::render::known_words;

/// The state of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DownloadState {
    /// It waits for a worker.
    Pending,
    /// A worker has it.
    Downloading,
    /// The file is in the store, whole.
    Stored,
    /// It is not tried again by itself.
    Failed,
}

impl DownloadState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Downloading, Self::Stored, Self::Failed];

    /// The word of the answers and of the rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Downloading => "downloading",
            Self::Stored => "stored",
            Self::Failed => "failed",
        }
    }
}

known_words!(DownloadState);
