//! Kept deliveries are read again, as this version reads them.
//!
//! What could not be read when it came, or was not known, may be to a later version. Guaranteed: only what was verified
//! when it came is read; each delivery is recorded like a webhook, in one transaction with what becomes of its row, so that
//! replaying once more, or twice at once, changes nothing; nothing is kept a second time.

use chrono::{DateTime, Utc};

use crate::domain::{EventType, UnreadableEvent};
use crate::feed::PostedTypes;
use crate::intake::record::kept::{self, Kept};
use crate::intake::record::{self, Observation, Outcome, QueueLimits, RecordError, Recorded, Recorder};
use crate::runtime::Clock;
use crate::runtime::{BACKGROUND_TIMEOUT, Database};

/// How many deliveries are fetched at once.
const BATCH: i64 = 100;

/// What became of a kept delivery.
#[derive(Debug)]
pub enum Reread {
    /// It still cannot be read.
    Unreadable(UnreadableEvent),
    /// It can be read now, and would be recorded.
    Readable(Box<Observation>),
    /// It was recorded.
    Recorded(Box<Observation>, Recorded),
}

impl Reread {
    /// Whether this version makes more of it than was made when it came.
    #[must_use]
    pub fn is_understood(&self) -> bool {
        match self {
            Self::Unreadable(_) => false,
            Self::Readable(word) => word.is_known(),
            Self::Recorded(_, recorded) => recorded.outcome != Outcome::Unknown,
        }
    }

    /// The event's type and render, where they can be read.
    #[must_use]
    pub fn about(&self) -> Option<(&str, &str)> {
        match self {
            Self::Unreadable(_) => None,
            Self::Readable(word) | Self::Recorded(word, _) => {
                Some((word.event_type().map_or("", EventType::as_str), word.render_id().as_str()))
            }
        }
    }
}

/// Reads what is kept since `since` again, one by one in the order in which it came, and tells `each`. With `dry_run`
/// nothing is written.
pub async fn run(
    database: &Database,
    clock: &Clock,
    since: Option<DateTime<Utc>>,
    dry_run: bool,
    posted: PostedTypes,
    mut each: impl FnMut(&Kept, &Reread),
) -> Result<(), RecordError> {
    let recorder = Recorder::start(database.clone(), clock.clone(), posted, QueueLimits::default());
    let mut after = 0;
    loop {
        let found = database.with_timeout(BACKGROUND_TIMEOUT, kept::find(database.pool(), since, after, BATCH)).await?;
        let Some(last) = found.last() else { return Ok(()) };
        after = last.id();
        for kept in &found {
            let reread = match Observation::reread(kept) {
                Err(why) => Reread::Unreadable(why),
                Ok(word) if dry_run => Reread::Readable(Box::new(word)),
                Ok(word) => record(&recorder, word).await?,
            };
            each(kept, &reread);
        }
    }
}

async fn record(recorder: &Recorder, observation: Observation) -> Result<Reread, RecordError> {
    let (observation, result) = recorder.record(observation).await?;
    record::log_recorded(&observation, &result);
    Ok(Reread::Recorded(Box::new(observation), result))
}
