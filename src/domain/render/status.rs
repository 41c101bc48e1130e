//! The status of a render and the rule by which it moves.
//!
//! A render moves only to a status of a higher rank, whichever source says so; of `error` and `canceled`, which share a
//! rank, the first stands, unless the details API says otherwise, once. [`Status::after`] is that rule.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::known_words;

/// The state of a render as Magic Hour names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
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

    /// Whether nothing follows it but corrections.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        match self {
            Self::Draft | Self::Queued | Self::Rendering => false,
            Self::Error | Self::Canceled | Self::Complete => true,
        }
    }

    /// Whether it is one of the two ends without files, which share a rank.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Error | Self::Canceled => true,
            Self::Draft | Self::Queued | Self::Rendering | Self::Complete => false,
        }
    }

    /// What a render with the status `current` moves to when a webhook says `said`, or `None` if it stays.
    ///
    /// ```
    /// use renderhook::domain::Status;
    /// assert_eq!(Status::after(Some(Status::Rendering), Status::Complete), Some(Status::Complete));
    /// assert_eq!(Status::after(Some(Status::Complete), Status::Rendering), None);
    /// ```
    #[must_use]
    pub fn after(current: Option<Self>, said: Self) -> Option<Self> {
        (said.rank() > rank_of(current)).then_some(said)
    }

    /// What it moves to when the details API says `said`: as by a webhook, and it also corrects which of `error` and
    /// `canceled` it is. That is taken from it once per render.
    ///
    /// ```
    /// use renderhook::domain::Status;
    /// assert_eq!(Status::confirmed(Some(Status::Error), Status::Canceled), Some(Status::Canceled));
    /// assert_eq!(Status::confirmed(Some(Status::Complete), Status::Canceled), None);
    /// ```
    #[must_use]
    pub fn confirmed(current: Option<Self>, said: Self) -> Option<Self> {
        let corrects = said.is_failure() && current.is_some_and(|current| current.is_failure() && current != said);
        if corrects { Some(said) } else { Self::after(current, said) }
    }

    /// The higher of two statuses, either of which may be unknown; the first of equals.
    #[must_use]
    pub fn higher(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        if rank_of(other) > rank_of(one) { other } else { one }
    }
}

/// The rank of a status that may be unknown, which is below every other.
#[must_use]
pub const fn rank_of(status: Option<Status>) -> i16 {
    match status {
        Some(status) => status.rank(),
        None => -1,
    }
}

known_words!(Status);

#[cfg(test)]
mod tests {
    use super::Status::{Canceled, Complete, Draft, Error, Queued, Rendering};
    use super::*;

    #[test]
    fn every_pair_of_statuses_moves_as_the_table_says() {
        // Rows: the current status, from unknown to complete. Columns: what is said, in the order of `Status::ALL`.
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
                assert_eq!(Status::after(current, said), moves.then_some(said), "{current:?} and {said}");
                let corrects = matches!((current, said), (Some(Error), Canceled) | (Some(Canceled), Error));
                let confirmed = (moves || corrects).then_some(said);
                assert_eq!(Status::confirmed(current, said), confirmed, "{current:?} and {said}, polled");
            }
        }
    }

    #[test]
    fn the_higher_of_two_statuses_wins_and_the_first_of_equals() {
        assert_eq!(Status::higher(Some(Rendering), Some(Complete)), Some(Complete));
        assert_eq!(Status::higher(Some(Complete), Some(Rendering)), Some(Complete));
        assert_eq!(Status::higher(Some(Error), Some(Canceled)), Some(Error));
        assert_eq!(Status::higher(None, Some(Canceled)), Some(Canceled));
        assert_eq!(Status::higher(Some(Queued), None), Some(Queued));
        assert_eq!(Status::higher(None, None), None);
    }
}
