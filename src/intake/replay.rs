//! Replays stored deliveries that were unreadable or unknown, because a later version may understand them.
//!
//! Guaranteed:
//! - Only deliveries whose signature was verified at arrival are replayed.
//! - Each delivery is recorded like a webhook, and its row is updated in the same transaction. Replaying again, or twice at
//!   once, changes nothing.

use chrono::{DateTime, Utc};

use crate::domain::{EventType, UnreadableEvent};
use crate::intake::record::{
    Observation, QueueLimits, RecordError, RecordOutcome, RecordRules, Recorded, Recorder, StoredDelivery,
    find_unresolved, log_recorded,
};
use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database};

/// The number of deliveries read by one statement.
const BATCH: i64 = 100;

/// The result of replaying a stored delivery.
#[derive(Debug)]
pub enum Replayed {
    /// It still cannot be read.
    Unreadable(UnreadableEvent),
    /// It is readable and would be recorded.
    Readable(Box<Observation>),
    /// It was recorded.
    Recorded(Box<Observation>, Recorded),
}

impl Replayed {
    /// Whether this version understands it.
    #[must_use]
    pub fn is_understood(&self) -> bool {
        match self {
            Self::Unreadable(_) => false,
            Self::Readable(observation) => observation.is_known(),
            Self::Recorded(_, recorded) => recorded.outcome != RecordOutcome::Unknown,
        }
    }

    /// The event type and the render's id, if readable.
    #[must_use]
    pub fn event_type_and_render_id(&self) -> Option<(&str, &str)> {
        match self {
            Self::Unreadable(_) => None,
            Self::Readable(observation) | Self::Recorded(observation, _) => {
                Some((observation.event_type().map_or("", EventType::as_str), observation.render_id().as_str()))
            }
        }
    }
}

/// Replays the deliveries received since `since`, in the order of arrival, and calls `each` with every result. With
/// `dry_run`, nothing is written.
pub async fn replay_deliveries(
    database: &Database,
    clock: &Clock,
    since: Option<DateTime<Utc>>,
    dry_run: bool,
    rules: RecordRules,
    mut each: impl FnMut(&StoredDelivery, &Replayed),
) -> Result<(), RecordError> {
    let recorder = Recorder::start(database.clone(), clock.clone(), rules, QueueLimits::default());
    let mut after = 0;
    loop {
        let found =
            database.with_timeout(BACKGROUND_TIMEOUT, find_unresolved(database.pool(), since, after, BATCH)).await?;
        let Some(last) = found.last() else { return Ok(()) };
        after = last.id();
        for delivery in &found {
            let replayed = match Observation::replay(delivery) {
                Err(why) => Replayed::Unreadable(why),
                Ok(observation) if dry_run => Replayed::Readable(Box::new(observation)),
                Ok(observation) => record(&recorder, observation).await?,
            };
            each(delivery, &replayed);
        }
    }
}

async fn record(recorder: &Recorder, observation: Observation) -> Result<Replayed, RecordError> {
    let (observation, result) = recorder.record(observation).await?;
    log_recorded(&observation, &result);
    Ok(Replayed::Recorded(Box::new(observation), result))
}
