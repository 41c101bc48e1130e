//! What recording an observation did.

use chrono::TimeDelta;

use crate::domain::{DeliveryOutcome, InvalidExternalId, Status};

/// The outcome of recording an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordOutcome {
    /// It was new.
    Recorded,
    /// The same event was delivered before.
    Duplicate,
    /// The render was already further along.
    Late,
    /// This version does not know its type or status.
    Unknown,
    /// The render was erased, so nothing of it is kept.
    Erased,
}

impl RecordOutcome {
    /// The name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        DeliveryOutcome::from(self).as_str()
    }
}

impl From<RecordOutcome> for DeliveryOutcome {
    fn from(outcome: RecordOutcome) -> Self {
        match outcome {
            RecordOutcome::Recorded => Self::Recorded,
            RecordOutcome::Duplicate => Self::Duplicate,
            // Of a delivery that was stored before its render was erased.
            RecordOutcome::Late | RecordOutcome::Erased => Self::Late,
            RecordOutcome::Unknown => Self::Unknown,
        }
    }
}

/// A change of a render's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusChange {
    /// The status before; `None` for the first one.
    pub from: Option<Status>,
    /// The status after.
    pub to: Status,
}

/// The result of recording an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The outcome.
    pub outcome: RecordOutcome,
    /// The status change that it caused.
    pub transition: Option<StatusChange>,
    /// If the render is complete with it: how long it took since it was created or first seen, according to Magic Hour's
    /// clock.
    pub render_duration: Option<TimeDelta>,
    /// The render's status before, if it was `error` or `canceled`.
    pub previous_failure: Option<Status>,
    /// Whether it is the first to report `unknown_error`, which Magic Hour asks to be informed about.
    pub is_first_unknown_error: bool,
    /// Whether its delivery is stored. The number of stored repetitions of a request is limited.
    pub store_delivery: bool,
    /// Whether the batch changed anything in the render's API answer.
    pub changed: bool,
    /// The number of the render's files that the batch queued or gave a fresh URL.
    pub queued: i64,
    /// If it confirms that fewer files came than announced, how many are missing; otherwise 0.
    pub missing_files: u32,
    /// Set if what `EXTERNAL_ID_PATTERN` finds in the name cannot be an external id.
    pub rejected_external_id: Option<InvalidExternalId>,
}

impl Recorded {
    /// The result for an observation about an erased render.
    pub(super) const fn of_erased() -> Self {
        Self { outcome: RecordOutcome::Erased, store_delivery: false, ..Self::of_unknown_kind() }
    }

    /// The result for an observation about an unknown kind of render.
    pub(super) const fn of_unknown_kind() -> Self {
        Self {
            outcome: RecordOutcome::Unknown,
            transition: None,
            render_duration: None,
            previous_failure: None,
            is_first_unknown_error: false,
            store_delivery: true,
            changed: false,
            queued: 0,
            missing_files: 0,
            rejected_external_id: None,
        }
    }
}
