//! The application's own id for a render.

use std::str::FromStr;

use serde::Serialize;

/// The application's own id for a render: 1 to 255 characters of text without U+0000. It need not be unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ExternalId(String);

impl ExternalId {
    /// The maximum length, in characters.
    pub const MAX_CHARACTERS: usize = 255;

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The error for text that is not an [`ExternalId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {} characters without U+0000", ExternalId::MAX_CHARACTERS)]
pub struct InvalidExternalId;

impl FromStr for ExternalId {
    type Err = InvalidExternalId;

    fn from_str(text: &str) -> Result<Self, InvalidExternalId> {
        let fits = (1..=Self::MAX_CHARACTERS).contains(&text.chars().count()) && !text.contains('\0');
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidExternalId) }
    }
}
