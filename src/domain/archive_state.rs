//! What the states of a render's downloads sum up to, in one word.
//!
//! The rule stands in SQL, in `told!`, because a list is filtered by it; this is the word that it gives.

use std::str::FromStr;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::render::Unknown;

/// How much of a render is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Archive {
    /// The render is not complete: there is nothing to keep.
    None,
    /// It is complete, and nobody has told where its files are.
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

impl Archive {
    /// Every sum.
    pub const ALL: [Self; 6] =
        [Self::None, Self::AwaitingUrls, Self::Pending, Self::Partial, Self::Stored, Self::Failed];

    /// The word of the answers.
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

impl FromStr for Archive {
    type Err = Unknown;

    fn from_str(word: &str) -> Result<Self, Unknown> {
        Self::ALL.into_iter().find(|known| known.as_str() == word).ok_or(Unknown)
    }
}
