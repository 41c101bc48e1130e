//! Magic Hour's id of a render.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Magic Hour's id of a render: 1 to 255 characters of text without U+0000, which Postgres cannot store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct RenderId(String);

impl RenderId {
    /// The maximum length, in characters. Magic Hour's ids have about 25.
    pub const MAX_CHARACTERS: usize = 255;

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a render id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRenderId {
    /// The text is empty.
    #[error("the id is empty")]
    Empty,
    /// The text exceeds [`RenderId::MAX_CHARACTERS`].
    #[error("the id is longer than {} characters", RenderId::MAX_CHARACTERS)]
    TooLong,
    /// The text contains U+0000.
    #[error("the id contains U+0000")]
    Nul,
}

impl FromStr for RenderId {
    type Err = InvalidRenderId;

    fn from_str(text: &str) -> Result<Self, InvalidRenderId> {
        if text.is_empty() {
            Err(InvalidRenderId::Empty)
        } else if text.chars().count() > Self::MAX_CHARACTERS {
            Err(InvalidRenderId::TooLong)
        } else if text.contains('\0') {
            Err(InvalidRenderId::Nul)
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for RenderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_a_maximum_length_and_no_nul() {
        assert_eq!("".parse::<RenderId>(), Err(InvalidRenderId::Empty));
        assert_eq!("a\0b".parse::<RenderId>(), Err(InvalidRenderId::Nul));
        assert_eq!("x".repeat(256).parse::<RenderId>(), Err(InvalidRenderId::TooLong));
        assert_eq!("😀".repeat(256).parse::<RenderId>(), Err(InvalidRenderId::TooLong));
        assert_eq!("😀".repeat(255).parse::<RenderId>().map(|id| id.as_str().len()), Ok(4 * 255));
        assert_eq!("ключ/..".parse::<RenderId>().map(|id| id.to_string()), Ok("ключ/..".to_owned()));
    }
}
