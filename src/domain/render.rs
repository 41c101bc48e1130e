//! A render and the rules of its status, as pure code.
//!
//! A render moves only to a status of a higher rank, whoever says so; of `error` and `canceled`, which share a rank,
//! the first stands, unless the details call says otherwise. [`moved`] and [`settled`] are these rules; the statement that
//! records (`record.sql`) is the same in SQL, and the tests hold one against the other.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use utoipa::ToSchema;

/// What Magic Hour renders: each kind has its own details call and its own webhook events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
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

/// The state of a render as Magic Hour names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Created, not submitted. Magic Hour documents it as not used today.
    Draft,
    /// Waiting for a server. No webhook tells it.
    Queued,
    /// In progress: `{kind}.started`.
    Rendering,
    /// Failed: `{kind}.errored`.
    Error,
    /// Canceled by a person. No webhook tells it.
    Canceled,
    /// Finished: `{kind}.completed`.
    Complete,
}

impl Status {
    /// Every status, by rank.
    pub const ALL: [Self; 6] =
        [Self::Draft, Self::Queued, Self::Rendering, Self::Error, Self::Canceled, Self::Complete];

    /// How far along it is: a render moves only to a higher rank.
    #[must_use]
    pub const fn rank(self) -> i16 {
        match self {
            Self::Draft => 0,
            Self::Queued => 1,
            Self::Rendering => 2,
            Self::Error | Self::Canceled => 3,
            Self::Complete => 4,
        }
    }

    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Queued => "queued",
            Self::Rendering => "rendering",
            Self::Error => "error",
            Self::Canceled => "canceled",
            Self::Complete => "complete",
        }
    }
}

/// The rank of "nobody has told yet", below every status.
pub const UNTOLD: i16 = -1;

/// The rule: what a render at `current` becomes when `said` is said of it, or `None` when it stays.
///
/// ```
/// use renderhook::domain::render::{Status, moved};
/// assert_eq!(moved(Some(Status::Rendering), Status::Complete), Some(Status::Complete));
/// assert_eq!(moved(Some(Status::Complete), Status::Rendering), None);
/// ```
#[must_use]
pub fn moved(current: Option<Status>, said: Status) -> Option<Status> {
    (said.rank() > current.map_or(UNTOLD, Status::rank)).then_some(said)
}

/// The one exception: what the details call makes of a render that stands at `current`, an end of the same rank as the
/// one that it tells. It is heeded once a render; who asks twice gets the first answer.
///
/// ```
/// use renderhook::domain::render::{Status, settled};
/// assert_eq!(settled(Some(Status::Error), Status::Canceled), Some(Status::Canceled));
/// assert_eq!(settled(Some(Status::Complete), Status::Canceled), None);
/// ```
#[must_use]
pub fn settled(current: Option<Status>, said: Status) -> Option<Status> {
    let ends = [Status::Error, Status::Canceled];
    let differ = current.is_some_and(|current| ends.contains(&current) && ends.contains(&said) && current != said);
    differ.then_some(said)
}

/// The higher of two statuses, either of which may be untold: what an event's type and its payload say together.
#[must_use]
pub fn higher(one: Option<Status>, other: Option<Status>) -> Option<Status> {
    match (one, other) {
        (Some(one), Some(other)) if other.rank() > one.rank() => Some(other),
        (one, other) => one.or(other),
    }
}

/// A word of one of the lists above that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a word that this version knows")]
pub struct Unknown;

macro_rules! words {
    ($name:ty) => {
        impl FromStr for $name {
            type Err = Unknown;

            fn from_str(word: &str) -> Result<Self, Unknown> {
                Self::ALL.into_iter().find(|known| known.as_str() == word).ok_or(Unknown)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(Kind);
words!(Status);

/// Magic Hour's id of a render: 1 to 255 bytes of text without U+0000 (Postgres holds none).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct RenderId(String);

impl RenderId {
    /// The longest id that is kept, in bytes. Magic Hour's are about 25.
    pub const MAX_BYTES: usize = 255;

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no render's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRenderId {
    /// The text is empty.
    #[error("the id is empty")]
    Empty,
    /// The text is longer than any id that Magic Hour makes.
    #[error("the id is longer than {} bytes", RenderId::MAX_BYTES)]
    TooLong,
    /// The text holds U+0000.
    #[error("the id holds U+0000")]
    Nul,
}

impl FromStr for RenderId {
    type Err = InvalidRenderId;

    fn from_str(text: &str) -> Result<Self, InvalidRenderId> {
        if text.is_empty() {
            Err(InvalidRenderId::Empty)
        } else if text.len() > Self::MAX_BYTES {
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

/// The application's own name for a render: 1 to 255 bytes of text without U+0000. It need not be unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ExternalId(String);

impl ExternalId {
    /// The longest that is kept, in bytes.
    pub const MAX_BYTES: usize = 255;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no [`ExternalId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {} bytes of text without U+0000", ExternalId::MAX_BYTES)]
pub struct InvalidExternalId;

impl FromStr for ExternalId {
    type Err = InvalidExternalId;

    fn from_str(text: &str) -> Result<Self, InvalidExternalId> {
        let fits = (1..=Self::MAX_BYTES).contains(&text.len()) && !text.contains('\0');
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidExternalId) }
    }
}

#[cfg(test)]
mod tests {
    use super::Status::{Canceled, Complete, Draft, Error, Queued, Rendering};
    use super::*;

    #[test]
    fn every_pair_of_statuses_moves_as_the_table_says() {
        // Rows: the current status, from untold to complete. Columns: what is said, in the order of `Status::ALL`.
        #[rustfmt::skip]
        let table = [
            //                 draft  queued rendering error  canceled complete
            (None,            [true,  true,  true,     true,  true,    true]),
            (Some(Draft),     [false, true,  true,     true,  true,    true]),
            (Some(Queued),    [false, false, true,     true,  true,    true]),
            (Some(Rendering), [false, false, false,    true,  true,    true]),
            (Some(Error),     [false, false, false,    false, false,   true]),
            (Some(Canceled),  [false, false, false,    false, false,   true]),
            (Some(Complete),  [false, false, false,    false, false,   false]),
        ];
        for (current, row) in table {
            for (said, moves) in Status::ALL.into_iter().zip(row) {
                assert_eq!(moved(current, said), moves.then_some(said), "{current:?} told {said}");
            }
        }
    }

    #[test]
    fn the_higher_of_two_statuses_wins_and_the_first_of_equals() {
        assert_eq!(higher(Some(Rendering), Some(Complete)), Some(Complete));
        assert_eq!(higher(Some(Complete), Some(Rendering)), Some(Complete));
        assert_eq!(higher(Some(Error), Some(Canceled)), Some(Error));
        assert_eq!(higher(None, Some(Canceled)), Some(Canceled));
        assert_eq!(higher(Some(Queued), None), Some(Queued));
        assert_eq!(higher(None, None), None);
    }

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

    #[test]
    fn an_id_is_bounded_and_holds_no_nul() {
        assert_eq!("".parse::<RenderId>(), Err(InvalidRenderId::Empty));
        assert_eq!("a\0b".parse::<RenderId>(), Err(InvalidRenderId::Nul));
        assert_eq!("x".repeat(256).parse::<RenderId>(), Err(InvalidRenderId::TooLong));
        assert_eq!("x".repeat(255).parse::<RenderId>().map(|id| id.as_str().len()), Ok(255));
        assert_eq!("ключ/..".parse::<RenderId>().map(|id| id.to_string()), Ok("ключ/..".to_owned()));
    }
}
