//! What became of a delivery.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::render::string_enum;

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryOutcome {
    /// It was news, and is recorded.
    Recorded,
    /// The same event was recorded before.
    Duplicate,
    /// It arrived after newer events, and moved nothing.
    Late,
    /// This version does not know the type or the status.
    Unknown,
    /// It is authentic, and not an event.
    Unreadable,
    /// It was signed outside the tolerance, and is not trusted.
    Stale,
}

impl DeliveryOutcome {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Recorded, Self::Duplicate, Self::Late, Self::Unknown, Self::Unreadable, Self::Stale];

    /// The string used in HTTP answers and database rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::Unknown => "unknown",
            Self::Unreadable => "unreadable",
            Self::Stale => "stale",
        }
    }
}

string_enum!(DeliveryOutcome);
