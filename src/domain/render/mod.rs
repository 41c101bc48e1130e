//! What a render is: its kind, its status, and the ids by which it goes.

mod external_id;
mod kind;
mod render_id;
mod status;

pub use self::external_id::{ExternalId, InvalidExternalId};
pub use self::kind::Kind;
pub use self::render_id::{InvalidRenderId, RenderId};
pub use self::status::{Status, rank_of};

/// A word of a closed list that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a word that this version knows")]
pub struct Unknown;

/// Reads and writes an enum by its `ALL` and `as_str`.
macro_rules! known_words {
    ($name:ty) => {
        impl std::str::FromStr for $name {
            type Err = crate::domain::render::Unknown;

            fn from_str(word: &str) -> Result<Self, crate::domain::render::Unknown> {
                Self::ALL.into_iter().find(|known| known.as_str() == word).ok_or(crate::domain::render::Unknown)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(in crate::domain) use known_words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_itself_and_no_other_word_reads() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for word in ["", "Complete", "completed", " error", "archived"] {
            assert_eq!(word.parse::<Status>(), Err(Unknown), "{word:?}");
            assert_eq!(word.parse::<Kind>(), Err(Unknown), "{word:?}");
        }
    }
}
