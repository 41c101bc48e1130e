//! The kind of a render.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::string_enum;

/// The kind of a render. Each kind has its own details endpoint and its own webhook event types.
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

    /// The string used by Magic Hour's API: `video`, `image`, or `audio`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Image => "image",
            Self::Audio => "audio",
        }
    }
}

string_enum!(Kind);
