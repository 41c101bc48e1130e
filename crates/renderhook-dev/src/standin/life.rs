//! What becomes of a render, and when: the truth that the stand-in tells, as pure code.
//!
//! A life is a list of stages, each with the time after creation at which it begins. What is true at an age is the last
//! stage that had begun by then, so that any moment of a life can be asked for, also a past one.

use chrono::TimeDelta;

use renderhook::domain::Action;
use renderhook::domain::Status;

/// One stage of a render's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Created and not submitted.
    Draft,
    /// Waiting for a server.
    Queued,
    /// In progress.
    Rendering,
    /// Finished: its files are there.
    Complete,
    /// Failed.
    Error {
        /// A word such as `no_source_face`.
        code: String,
        /// A sentence about it.
        message: String,
    },
    /// Canceled by a person.
    Canceled,
}

impl Stage {
    /// A failure with one of the documented codes.
    #[must_use]
    pub fn error(code: &str) -> Self {
        Self::Error { code: code.to_owned(), message: format!("It failed: {code}") }
    }

    /// The status that the details call tells.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::Draft => Status::Draft,
            Self::Queued => Status::Queued,
            Self::Rendering => Status::Rendering,
            Self::Complete => Status::Complete,
            Self::Error { .. } => Status::Error,
            Self::Canceled => Status::Canceled,
        }
    }

    /// What a webhook says when it begins. There is none for `draft`, `queued` and `canceled`.
    #[must_use]
    pub const fn action(&self) -> Option<Action> {
        match self {
            Self::Rendering => Some(Action::Started),
            Self::Complete => Some(Action::Completed),
            Self::Error { .. } => Some(Action::Errored),
            Self::Draft | Self::Queued | Self::Canceled => None,
        }
    }
}

/// The stages of a render and when they begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life(Vec<(TimeDelta, Stage)>);

impl Life {
    /// Begins with `stage`, and stays there until it is told otherwise.
    #[must_use]
    pub fn beginning(stage: Stage) -> Self {
        Self(vec![(TimeDelta::zero(), stage)])
    }

    /// Begins in the queue, as every render does today.
    #[must_use]
    pub fn queued() -> Self {
        Self::beginning(Stage::Queued)
    }

    /// With one more stage, which begins so long `after` creation.
    #[must_use]
    pub fn then(mut self, after: TimeDelta, stage: Stage) -> Self {
        let place = self.begun(after).len();
        self.0.insert(place, (after, stage));
        self
    }

    /// At `age` it goes over to `stage`, and nothing comes of what was to follow.
    pub fn turn(&mut self, age: TimeDelta, stage: Stage) {
        self.0.truncate(self.begun(age).len());
        self.0.push((age, stage));
    }

    /// The stages that have begun at `age`, in order.
    #[must_use]
    pub fn begun(&self, age: TimeDelta) -> &[(TimeDelta, Stage)] {
        &self.0[..self.0.partition_point(|(after, _)| *after <= age)]
    }

    /// The stage at `age`; none before the render was created.
    #[must_use]
    pub fn at(&self, age: TimeDelta) -> Option<&Stage> {
        self.begun(age).last().map(|(_, stage)| stage)
    }

    /// All of its stages, in order; the last is its end.
    #[must_use]
    pub fn stages(&self) -> impl DoubleEndedIterator<Item = &Stage> {
        self.0.iter().map(|(_, stage)| stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: i64) -> TimeDelta {
        TimeDelta::seconds(seconds)
    }

    #[test]
    fn the_stage_at_an_age_is_the_last_that_has_begun() {
        // In any order: they are lived by their times.
        let life = Life::queued().then(seconds(5), Stage::Complete).then(seconds(2), Stage::Rendering);
        let table = [
            (-1, None),
            (0, Some(Stage::Queued)),
            (1, Some(Stage::Queued)),
            (2, Some(Stage::Rendering)),
            (4, Some(Stage::Rendering)),
            (5, Some(Stage::Complete)),
            (99, Some(Stage::Complete)),
        ];
        for (age, stage) in table {
            assert_eq!(life.at(seconds(age)), stage.as_ref(), "{age}");
        }
        assert_eq!(life.stages().next_back(), Some(&Stage::Complete));
    }

    #[test]
    fn a_turn_ends_what_was_to_come_and_leaves_what_has_been() {
        let mut life = Life::queued().then(seconds(2), Stage::Rendering).then(seconds(5), Stage::Complete);
        life.turn(seconds(3), Stage::Canceled);
        assert_eq!(life.at(seconds(2)), Some(&Stage::Rendering));
        assert_eq!(life.at(seconds(3)), Some(&Stage::Canceled));
        assert_eq!(life.at(seconds(99)), Some(&Stage::Canceled));
    }

    #[test]
    fn three_stages_have_a_webhook_and_three_have_none() {
        let told = |stage: Stage| stage.action().map(Action::as_str);
        assert_eq!(told(Stage::Rendering), Some("started"));
        assert_eq!(told(Stage::Complete), Some("completed"));
        assert_eq!(told(Stage::error("no_source_face")), Some("errored"));
        for silent in [Stage::Draft, Stage::Queued, Stage::Canceled] {
            assert_eq!(told(silent.clone()), None, "{silent:?}");
        }
    }
}
