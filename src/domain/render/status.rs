//! The status of a render, and the rule for changing it.
//!
//! A render only moves to a status of a higher rank, whichever source reports it. `error` and `canceled` share a rank: the
//! first one stays, except that the details API may correct it once. [`Status::after_webhook`] and
//! [`Status::after_poll`] are that rule.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::string_enum;

/// The status of a render, with Magic Hour's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Created but not submitted. Magic Hour documents it as currently unused.
    Draft,
    /// Waiting for a server. No webhook reports it.
    Queued,
    /// In progress: `{kind}.started`.
    Rendering,
    /// Failed: `{kind}.errored`.
    Error,
    /// Canceled by a person. No webhook reports it.
    Canceled,
    /// Finished: `{kind}.completed`.
    Complete,
}

impl Status {
    /// Every status, in order of rank.
    pub const ALL: [Self; 6] =
        [Self::Draft, Self::Queued, Self::Rendering, Self::Error, Self::Canceled, Self::Complete];

    /// The rank: a render only moves to a status of a higher rank.
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

    /// The string used by Magic Hour's API.
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

    /// Whether the render has ended. Only a correction can follow.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        match self {
            Self::Draft | Self::Queued | Self::Rendering => false,
            Self::Error | Self::Canceled | Self::Complete => true,
        }
    }

    /// Whether the render ended without files: `error` or `canceled`, which share a rank.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Error | Self::Canceled => true,
            Self::Draft | Self::Queued | Self::Rendering | Self::Complete => false,
        }
    }

    /// The new status of a render in status `current` when a webhook reports `observed`, or `None` if it stays the same.
    ///
    /// ```
    /// use renderhook::domain::Status;
    /// assert_eq!(Status::after_webhook(Some(Status::Rendering), Status::Complete), Some(Status::Complete));
    /// assert_eq!(Status::after_webhook(Some(Status::Complete), Status::Rendering), None);
    /// ```
    #[must_use]
    pub fn after_webhook(current: Option<Self>, observed: Self) -> Option<Self> {
        (observed.rank() > rank_of(current)).then_some(observed)
    }

    /// The new status when the details API reports `observed`. Follows the same rule as a webhook, and also corrects
    /// `error` to `canceled` or the reverse. The caller allows that correction once per render.
    ///
    /// ```
    /// use renderhook::domain::Status;
    /// assert_eq!(Status::after_poll(Some(Status::Error), Status::Canceled), Some(Status::Canceled));
    /// assert_eq!(Status::after_poll(Some(Status::Complete), Status::Canceled), None);
    /// ```
    #[must_use]
    pub fn after_poll(current: Option<Self>, observed: Self) -> Option<Self> {
        let corrects =
            observed.is_failure() && current.is_some_and(|current| current.is_failure() && current != observed);
        if corrects { Some(observed) } else { Self::after_webhook(current, observed) }
    }

    /// The status of higher rank; the first one if the ranks are equal. `None` ranks lowest.
    #[must_use]
    pub fn higher(first: Option<Self>, second: Option<Self>) -> Option<Self> {
        if rank_of(second) > rank_of(first) { second } else { first }
    }
}

/// The rank of an optional status. `None` ranks below every status.
#[must_use]
pub const fn rank_of(status: Option<Status>) -> i16 {
    match status {
        Some(status) => status.rank(),
        None => -1,
    }
}

string_enum!(Status);

#[cfg(test)]
mod tests {
    use super::Status::{Canceled, Complete, Draft, Error, Queued, Rendering};
    use super::*;

    #[test]
    fn each_pair_of_statuses_changes_as_in_the_table() {
        // Rows: the current status. Columns: the observed status, in the order of `Status::ALL`.
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
            for (observed, moves) in Status::ALL.into_iter().zip(row) {
                assert_eq!(
                    Status::after_webhook(current, observed),
                    moves.then_some(observed),
                    "{current:?} and {observed}"
                );
                let corrects = matches!((current, observed), (Some(Error), Canceled) | (Some(Canceled), Error));
                let polled = (moves || corrects).then_some(observed);
                assert_eq!(Status::after_poll(current, observed), polled, "{current:?} and {observed}, polled");
            }
        }
    }

    #[test]
    fn the_status_of_higher_rank_wins_and_the_first_wins_between_equal_ranks() {
        assert_eq!(Status::higher(Some(Rendering), Some(Complete)), Some(Complete));
        assert_eq!(Status::higher(Some(Complete), Some(Rendering)), Some(Complete));
        assert_eq!(Status::higher(Some(Error), Some(Canceled)), Some(Error));
        assert_eq!(Status::higher(None, Some(Canceled)), Some(Canceled));
        assert_eq!(Status::higher(Some(Queued), None), Some(Queued));
        assert_eq!(Status::higher(None, None), None);
    }
}
