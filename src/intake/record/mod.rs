//! Recording: what was observed of renders becomes rows, before anyone is answered.
//!
//! [`Recorder`] forms batches of what arrives, [`record`] is one batch in one transaction, all or nothing, and `rule`
//! says what is written; SQL locks, reads and writes, and decides nothing. Guaranteed: however observations are ordered,
//! repeated or spread over batches, connections and processes, the renders end in the same state, and each real change of
//! a status is one transition; but for what `rule` names as a matter of order.
//!
//! [`kept`] has the authentic deliveries that say nothing, or are not believed, and [`log_recorded`] writes the log.

mod field_versions;
pub mod kept;
mod log;
mod observation;
mod read;
mod recorder;
mod rule;
mod transaction;
mod write;

pub use self::log::log_recorded;
pub use self::observation::{Observation, Source};
pub use self::recorder::{QueueLimits, RecordError, Recorder};
pub use self::rule::KEPT_REPETITIONS;
pub use self::transaction::record;
use crate::domain::Status;

/// What became of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// News.
    Recorded,
    /// The same event was delivered before.
    Duplicate,
    /// The render had already come further.
    Late,
    /// A type or status that this version does not know.
    Unknown,
}

impl Outcome {
    /// The word in rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::Unknown => "unknown",
        }
    }
}

/// A real change of a render's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Before; `None` for the first status.
    pub from: Option<Status>,
    /// After.
    pub to: Status,
}

/// What recording an observation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// What became of it.
    pub outcome: Outcome,
    /// The transition that it caused.
    pub moved: Option<Move>,
    /// Whether the render had failed or been canceled before, and which.
    pub stood: Option<Status>,
    /// Whether it is the first to report `unknown_error`, of which Magic Hour asks to be told.
    pub tells_unknown_error: bool,
    /// Whether its delivery is kept: of an event that is repeated without end, only so many are.
    pub is_kept: bool,
    /// Whether the batch changed anything of the render that is answered.
    pub news: bool,
    /// How many of the render's files the batch queued or gave a fresh URL.
    pub queued: i64,
}

impl Recorded {
    /// What becomes of an observation about a kind that this version does not know.
    const fn of_unknown_kind() -> Self {
        Self {
            outcome: Outcome::Unknown,
            moved: None,
            stood: None,
            tells_unknown_error: false,
            is_kept: true,
            news: false,
            queued: 0,
        }
    }
}
