//! Group commit: what arrives while a batch commits forms the next one.
//!
//! [`Recorder::record`] puts an observation into a bounded queue and returns its own answer after its commit. When nothing
//! is under way, a batch begins at once with what is there, so that an idle service adds no delay; under load, batches
//! grow, and a commit serves many. Guaranteed: an answer is sent only after the commit; an observation that the database
//! refuses fails alone; when the database is lost, exactly those fail whose commit is not known, and recording them again
//! is harmless; and memory is bounded, because a full queue refuses.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::observation::Observation;
use super::{Recorded, transaction};
use crate::feed::PostedTypes;
use crate::runtime::{Clock, Database, DatabaseError, REQUEST_TIMEOUT};

/// How many observations may wait.
const QUEUE: usize = 1024;
/// How many observations a batch takes.
const BATCH: usize = 256;
/// How many bytes of bodies a batch takes, but for its last one.
const BATCH_BYTES: usize = 4 << 20;
/// How many batches are under way at once: while one waits for the disk, the next one is decided.
const IN_FLIGHT: usize = 2;
/// How long an observation may wait for its place in the queue and for its answer.
const ANSWER: Duration = Duration::from_secs(5);

/// What waits to be recorded.
struct Job {
    observation: Observation,
    answer: oneshot::Sender<Result<(Observation, Recorded), DatabaseError>>,
}

/// Records observations in batches. Cheap to clone; it works for as long as there is a clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Job>,
}

impl Recorder {
    /// Starts recording into `database`. Notifications of `posted` types are to be posted.
    #[must_use]
    pub fn start(database: Database, clock: Clock, posted: PostedTypes) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(form_batches(Arc::new(Writer { database, clock, posted }), waiting));
        Self { queue }
    }

    /// Records an observation, and gives it back with what it did. Committed when it returns.
    pub async fn record(&self, observation: Observation) -> Result<(Observation, Recorded), DatabaseError> {
        let (answer, answered) = oneshot::channel();
        let job = Job { observation, answer };
        let recorded = async {
            // OK because the task that takes from the queue ends after the last sender.
            self.queue.send(job).await.map_err(|_closed| DatabaseError::TimedOut)?;
            answered.await.map_err(|_dropped| DatabaseError::TimedOut)?
        };
        tokio::time::timeout(ANSWER, recorded).await.unwrap_or(Err(DatabaseError::TimedOut))
    }
}

/// Takes batches from the queue until there is no sender left, and what they sent is recorded.
async fn form_batches(writer: Arc<Writer>, mut waiting: mpsc::Receiver<Job>) {
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    // OK because the semaphore is never closed. The place comes first: what arrives until there is one joins the batch.
    while let Ok(place) = places.clone().acquire_owned().await {
        let Some(first) = waiting.recv().await else { return };
        let mut bytes = first.observation.body_bytes();
        let mut batch = vec![first];
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            match waiting.try_recv() {
                Ok(job) => {
                    bytes += job.observation.body_bytes();
                    batch.push(job);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        tokio::spawn(writer.clone().write(batch, place));
    }
}

/// Writes batches.
struct Writer {
    database: Database,
    clock: Clock,
    posted: PostedTypes,
}

impl Writer {
    async fn write(self: Arc<Self>, batch: Vec<Job>, place: OwnedSemaphorePermit) {
        // A sender that gave up waiting gets no answer; Magic Hour sends the event again.
        let (observations, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().filter(|job| !job.answer.is_closed()).map(|job| (job.observation, job.answer)).unzip();
        let results = self.record(&observations).await;
        drop(place);
        for ((answer, observation), result) in answers.into_iter().zip(observations).zip(results) {
            // OK that nobody may wait any more: the event comes again, and is a duplicate.
            let _ = answer.send(result.map(|recorded| (observation, recorded)));
        }
    }

    /// Records a batch whole or, if the database refuses something in it, one by one.
    async fn record(&self, observations: &[Observation]) -> Vec<Result<Recorded, DatabaseError>> {
        if observations.is_empty() {
            return Vec::new();
        }
        let (pool, now) = (self.database.pool(), self.clock.now());
        let whole =
            async { whole(transaction::record(pool, now, observations, self.posted).await, observations.len()) };
        match self.database.with_timeout(REQUEST_TIMEOUT, whole).await {
            Ok(Some(recorded)) => recorded.into_iter().map(Ok).collect(),
            Ok(None) => {
                let mut results = Vec::with_capacity(observations.len());
                for observation in observations {
                    let alone = transaction::record(pool, now, std::slice::from_ref(observation), self.posted);
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

/// `None` where the database refuses what one of several observations brings.
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
        Err(error) => Err(error),
    }
}
