//! Group commit: what arrives while a batch commits forms the next one.
//!
//! [`Recorder::record`] puts an observation into a bounded queue and returns its own answer after its commit. While no
//! batch is in flight, one begins at once with what is there, so an idle service adds no delay; under load, batches grow,
//! and one commit serves many. Guaranteed: an answer is sent only after the commit; an observation that the database
//! refuses fails alone; if the database is lost, exactly those fail whose commit is not known, and recording them again is
//! harmless; a full queue refuses at once, so that memory is bounded and the sender soon tries again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tracing::{Instrument, Span, error_span, warn};

use super::observation::Observation;
use super::{RecordRules, Recorded, transaction};
use crate::intake::metrics::count_batch;
use crate::runtime::{
    BatchLimits, BatchPlace, Clock, Database, DatabaseError, LogEvent, REQUEST_TIMEOUT, are_traced, form_batches,
};

/// Observations and bytes of their bodies in a batch. Two are in flight at once: while one waits for the disk, the next one
/// is decided.
const BATCHES: BatchLimits = BatchLimits { items: 256, weight: 4 << 20, in_flight: 2 };
/// How long an observation may wait for its answer.
const ANSWER: Duration = Duration::from_secs(5);

/// How much may wait to be recorded. The defaults are what `serve` runs with; tests make them smaller.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Observations.
    pub observations: usize,
    /// Bytes of their bodies. They stay in memory until their batch begins, also when their senders no longer wait.
    pub bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { observations: 1024, bytes: 16 << 20 }
    }
}

/// Why an observation was not recorded, as far as is known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// Too much is waiting already. Nothing was done.
    #[error("too many observations wait to be recorded")]
    QueueFull,
    /// The database did not commit it, or did not say so in time.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// What waits to be recorded.
struct Job {
    observation: Observation,
    answer: oneshot::Sender<Result<(Observation, Recorded), DatabaseError>>,
    /// Of the request or the poll, where spans are exported.
    span: Option<Span>,
    /// Its share of [`QueueLimits::bytes`].
    _bytes: OwnedSemaphorePermit,
}

/// Records observations in batches. Cheap to clone; it works as long as there is a clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Job>,
    bytes: Arc<Semaphore>,
    limits: QueueLimits,
}

impl Recorder {
    /// Starts recording into `database`.
    #[must_use]
    pub fn start(database: Database, clock: Clock, rules: RecordRules, limits: QueueLimits) -> Self {
        let (queue, waiting) = mpsc::channel(limits.observations);
        let writer = Arc::new(Writer { database, clock, rules, rejection_logged: AtomicBool::new(false) });
        let weigh = |job: &Job| job.observation.body_bytes();
        tokio::spawn(form_batches(waiting, BATCHES, weigh, move |batch, place| writer.clone().write(batch, place)));
        Self { queue, bytes: Arc::new(Semaphore::new(limits.bytes)), limits }
    }

    /// Records an observation, and gives it back with what it did. Committed when it returns.
    pub async fn record(&self, observation: Observation) -> Result<(Observation, Recorded), RecordError> {
        // A body larger than the limit is accepted if no other waits.
        let bytes = u32::try_from(observation.body_bytes().min(self.limits.bytes)).unwrap_or(u32::MAX);
        let bytes = self.bytes.clone().try_acquire_many_owned(bytes).map_err(|_full| RecordError::QueueFull)?;
        let (answer, answered) = oneshot::channel();
        let job = Job { observation, answer, span: are_traced().then(Span::current), _bytes: bytes };
        // The queue is never closed: the task that takes from it ends after the last sender.
        self.queue.try_send(job).map_err(|_full| RecordError::QueueFull)?;
        match tokio::time::timeout(ANSWER, answered).await {
            Ok(Ok(recorded)) => Ok(recorded?),
            Ok(Err(_)) | Err(_) => Err(DatabaseError::TimedOut.into()),
        }
    }
}

/// Writes batches.
struct Writer {
    database: Database,
    clock: Clock,
    rules: RecordRules,
    /// Whether the log has a line about an external id that was rejected.
    rejection_logged: AtomicBool,
}

impl Writer {
    async fn write(self: Arc<Self>, batch: Vec<Job>, place: BatchPlace) {
        // A sender that gave up waiting gets no answer; Magic Hour sends the event again.
        let waited_for: Vec<_> = batch.into_iter().filter(|job| !job.answer.is_closed()).collect();
        let span = error_span!("record", batch.events = waited_for.len());
        for origin in waited_for.iter().filter_map(|job| job.span.as_ref()) {
            span.follows_from(origin);
        }
        let (observations, answers): (Vec<_>, Vec<_>) =
            waited_for.into_iter().map(|job| (job.observation, job.answer)).unzip();
        let begun = Instant::now();
        let results = self.record(&observations).instrument(span).await;
        drop(place);
        self.log_rejection(&observations, &results);
        count_batch(&observations, &results, begun.elapsed());
        for ((answer, observation), result) in answers.into_iter().zip(observations).zip(results) {
            // OK that nobody may wait any more: the event comes again, and is a duplicate.
            let _ = answer.send(result.map(|recorded| (observation, recorded)));
        }
    }

    /// Logs the first external id that is rejected. A pattern that does not fit the names is wrong for many of them.
    fn log_rejection(&self, observations: &[Observation], results: &[Result<Recorded, DatabaseError>]) {
        let rejected = observations
            .iter()
            .zip(results)
            .find_map(|(observation, result)| Some((observation, result.as_ref().ok()?.rejected_external_id?)));
        let Some((observation, error)) = rejected else { return };
        if !self.rejection_logged.swap(true, Ordering::Relaxed) {
            warn!(
                event = %LogEvent::ExternalIdRejected, render.id = %observation.render_id(),
                "what EXTERNAL_ID_PATTERN finds in a render's name {error}: it is ignored, and this is not logged again"
            );
        }
    }

    /// Records a batch whole or, if the database refuses something in it, one by one.
    async fn record(&self, observations: &[Observation]) -> Vec<Result<Recorded, DatabaseError>> {
        if observations.is_empty() {
            return Vec::new();
        }
        let (pool, now) = (self.database.pool(), self.clock.now());
        let whole =
            async { whole(transaction::record(pool, now, observations, &self.rules).await, observations.len()) };
        match self.database.with_timeout(REQUEST_TIMEOUT, whole).await {
            Ok(Some(recorded)) => recorded.into_iter().map(Ok).collect(),
            Ok(None) => {
                let mut results = Vec::with_capacity(observations.len());
                for observation in observations {
                    let alone = transaction::record(pool, now, std::slice::from_ref(observation), &self.rules);
                    let recorded = self.database.with_timeout(REQUEST_TIMEOUT, alone).await;
                    results.push(recorded.and_then(first));
                }
                results
            }
            Err(error) => observations.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

fn first(recorded: Vec<Recorded>) -> Result<Recorded, DatabaseError> {
    // OK because recording says of each observation what it did.
    recorded.into_iter().next().ok_or(DatabaseError::TimedOut)
}

/// `None` where one of several observations cannot be recorded, because of what it brings or of what is stored.
fn whole(recorded: sqlx::Result<Vec<Recorded>>, count: usize) -> sqlx::Result<Option<Vec<Recorded>>> {
    match recorded {
        Ok(recorded) => Ok(Some(recorded)),
        // Integrity and data exceptions: it depends on what is written.
        Err(sqlx::Error::Database(error))
            if count > 1
                && error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class))) =>
        {
            Ok(None)
        }
        // A row that this version cannot read.
        Err(sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. }) if count > 1 => Ok(None),
        Err(error) => Err(error),
    }
}
