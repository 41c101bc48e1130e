//! The stages of a render and when each begins: pure code.
//!
//! The stage at an age is the last one that has begun by then, so the state at any time can be computed, also in the
//! past.

use chrono::TimeDelta;
use renderhook::domain::{Action, Status};

/// A stage of a render.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Created, not submitted.
    Draft,
    /// Waiting for a server.
    Queued,
    /// In progress.
    Rendering,
    /// Finished, with its files.
    Complete,
    /// Failed.
    Error {
        /// The error's code, such as `no_source_face`.
        code: String,
        /// The error's message.
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

    /// The status in the details call's answer.
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

    /// The action in the webhook's type. There is no webhook for `draft`, `queued` and `canceled`.
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

/// The stages of a render, each with the age at which it begins. Sorted by age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle(Vec<(TimeDelta, Stage)>);

impl Lifecycle {
    /// Starts in `stage` and stays there.
    #[must_use]
    pub fn starting_in(stage: Stage) -> Self {
        Self(vec![(TimeDelta::zero(), stage)])
    }

    /// Starts in the queue, as every render does today.
    #[must_use]
    pub fn queued() -> Self {
        Self::starting_in(Stage::Queued)
    }

    /// Is queued for a quarter of `render_time`, then renders, then is in `end`.
    #[must_use]
    pub fn lasting(render_time: TimeDelta, end: Stage) -> Self {
        Self::queued().then(render_time / 4, Stage::Rendering).then(render_time, end)
    }

    /// Adds a stage that begins at `age`.
    #[must_use]
    pub fn then(mut self, age: TimeDelta, stage: Stage) -> Self {
        let index = self.begun(age).len();
        self.0.insert(index, (age, stage));
        self
    }

    /// Moves to `stage` at `age` and drops the stages that were to begin later.
    pub fn move_to(&mut self, age: TimeDelta, stage: Stage) {
        self.0.truncate(self.begun(age).len());
        self.0.push((age, stage));
    }

    /// The stages that have begun at `age`, in order.
    #[must_use]
    pub fn begun(&self, age: TimeDelta) -> &[(TimeDelta, Stage)] {
        &self.0[..self.0.partition_point(|(begins_at, _)| *begins_at <= age)]
    }

    /// The stage at `age`; `None` before the render was created.
    #[must_use]
    pub fn at(&self, age: TimeDelta) -> Option<&Stage> {
        self.begun(age).last().map(|(_, stage)| stage)
    }

    /// All stages in order.
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
    fn the_stage_at_an_age_is_the_last_one_that_has_begun() {
        // Stages can be added in any order.
        let lifecycle = Lifecycle::queued().then(seconds(5), Stage::Complete).then(seconds(2), Stage::Rendering);
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
            assert_eq!(lifecycle.at(seconds(age)), stage.as_ref(), "{age}");
        }
        assert_eq!(lifecycle.stages().next_back(), Some(&Stage::Complete));
    }

    #[test]
    fn a_render_that_takes_no_time_has_all_its_stages_at_once() {
        let lifecycle = Lifecycle::lasting(seconds(0), Stage::Complete);
        assert_eq!(lifecycle.at(seconds(0)), Some(&Stage::Complete));
        assert_eq!(lifecycle.begun(seconds(0)).len(), 3);
        assert_eq!(Lifecycle::lasting(seconds(8), Stage::Canceled).at(seconds(2)), Some(&Stage::Rendering));
    }

    #[test]
    fn a_move_drops_later_stages_and_keeps_earlier_ones() {
        let mut lifecycle = Lifecycle::queued().then(seconds(2), Stage::Rendering).then(seconds(5), Stage::Complete);
        lifecycle.move_to(seconds(3), Stage::Canceled);
        assert_eq!(lifecycle.at(seconds(2)), Some(&Stage::Rendering));
        assert_eq!(lifecycle.at(seconds(3)), Some(&Stage::Canceled));
        assert_eq!(lifecycle.at(seconds(99)), Some(&Stage::Canceled));
    }

    #[test]
    fn three_stages_have_a_webhook_and_three_have_none() {
        let action = |stage: Stage| stage.action().map(Action::as_str);
        assert_eq!(action(Stage::Rendering), Some("started"));
        assert_eq!(action(Stage::Complete), Some("completed"));
        assert_eq!(action(Stage::error("no_source_face")), Some("errored"));
        for stage in [Stage::Draft, Stage::Queued, Stage::Canceled] {
            assert_eq!(action(stage.clone()), None, "{stage:?}");
        }
    }
}
