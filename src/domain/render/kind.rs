//! What is rendered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::known_words;

/// What Magic Hour renders: each kind has its own details call and its own webhook events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A video project.
    Video,
    /// An image project.
    Image,
    /// An audio project.
    Audio,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Video, Self::Image, Self::Audio];

    /// The word of the API: `video`, `image`, `audio`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Image => "image",
            Self::Audio => "audio",
        }
    }
}

known_words!(Kind);
