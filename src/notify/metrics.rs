//! The metrics of posting notifications.

use chrono::{DateTime, Utc};

use super::schedule::PostOutcome;
use crate::runtime::{CounterFamily, HistogramFamily, LabelValue, Metric};

/// The metrics of this room.
pub static METRICS: &[&dyn Metric] = &[&ATTEMPTS, &DELAY];

impl LabelValue for PostOutcome {
    const NAME: &'static str = "outcome";

    fn all() -> Vec<Self> {
        vec![Self::Delivered, Self::Retry { at: DateTime::UNIX_EPOCH }, Self::Failed]
    }

    fn value(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry { .. } => "retried",
            Self::Failed => "failed",
        }
    }
}

static ATTEMPTS: CounterFamily<(PostOutcome,)> =
    CounterFamily::new("renderhook_notification_attempts_total", "Attempts to post a notification by how they ended");

static DELAY: HistogramFamily<()> = HistogramFamily::new(
    "renderhook_notification_delay_seconds",
    "Time from when a notification was due to be posted first until the application accepted it",
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 1800.0, 7200.0, 43200.0, 259_200.0],
);

/// Counts an attempt to post a notification that is to be posted `since`.
pub(super) fn count_attempt(outcome: PostOutcome, since: DateTime<Utc>, now: DateTime<Utc>) {
    ATTEMPTS.add((outcome,), 1);
    if outcome == PostOutcome::Delivered {
        DELAY.observe((), (now - since).as_seconds_f64().max(0.0));
    }
}
