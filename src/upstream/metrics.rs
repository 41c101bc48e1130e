//! The metrics of polls.

use super::reconcile::PollOutcome;
use crate::runtime::{CounterFamily, LabelValue, Metric};

/// The metrics of this room.
pub static METRICS: &[&dyn Metric] = &[&POLLS];

impl LabelValue for PollOutcome {
    const NAME: &'static str = "outcome";

    fn all() -> Vec<Self> {
        vec![Self::StatusChanged, Self::Unchanged, Self::NotFound, Self::Rejected, Self::Failed { retry_after: None }]
    }

    fn value(self) -> &'static str {
        match self {
            Self::StatusChanged => "status_changed",
            Self::Unchanged => "unchanged",
            Self::NotFound => "not_found",
            Self::Rejected => "rejected",
            Self::Failed { .. } => "failed",
        }
    }
}

pub(super) static POLLS: CounterFamily<(PollOutcome,)> =
    CounterFamily::new("renderhook_polls_total", "Polls of Magic Hour's details API by what they brought");
