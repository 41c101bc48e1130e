//! Group commit: attempts that end while a transaction commits settle together in the next one.
//!
//! There is no background task. The first caller becomes the leader: it settles all queued attempts, including its own, and sends
//! each of the others its result. If no transaction is in progress, an attempt is settled at once.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, oneshot};

use super::attempt::{AttemptReport, LeasedAttempt};
use super::decide::Settlement;
use super::rows;
use crate::archive::queue::{Lease, LeaseError};
use crate::feed::PostedTypes;
use crate::runtime::{BACKGROUND_TIMEOUT, Database, DatabaseError};

/// The maximum number of attempts per transaction.
const MAX_BATCH: usize = 256;

/// The result of settling an attempt.
type SettleResult = Result<Settlement, LeaseError>;

/// Settles attempts, in batches.
#[derive(Debug, Default)]
pub struct Settler {
    posted: PostedTypes,
    queue: Mutex<Vec<Queued>>,
    /// Held by the leader.
    leader: AsyncMutex<()>,
}

#[derive(Debug)]
struct Queued {
    entry: LeasedAttempt,
    answer: oneshot::Sender<SettleResult>,
}

impl Settler {
    /// Notifications of `posted` types are to be posted.
    #[must_use]
    pub fn new(posted: PostedTypes) -> Self {
        Self { posted, ..Self::default() }
    }

    /// Settles an attempt under its lease. After a database error, the result is unknown, and trying again is safe.
    pub async fn settle(&self, database: &Database, lease: &Lease, attempt: AttemptReport) -> SettleResult {
        let (answer, mut answered) = oneshot::channel();
        self.lock().push(Queued { entry: LeasedAttempt::new(lease, attempt), answer });
        loop {
            tokio::select! {
                biased;
                // There is no result if the leader was dropped or its transaction failed.
                answer = &mut answered => return answer.unwrap_or(Err(DatabaseError::TimedOut.into())),
                _leader = self.leader.lock() => {
                    let batch = self.next_batch();
                    if !batch.is_empty() {
                        settle_batch(database, batch, self.posted).await;
                    }
                }
            }
        }
    }

    fn next_batch(&self) -> Vec<Queued> {
        let mut queue = self.lock();
        let count = queue.len().min(MAX_BATCH);
        queue.drain(..count).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Queued>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Settles a batch, and sends each attempt its result.
async fn settle_batch(database: &Database, batch: Vec<Queued>, posted: PostedTypes) {
    let (entries, senders): (Vec<_>, Vec<_>) = batch.into_iter().map(|queued| (queued.entry, queued.answer)).unzip();
    let answers = match transaction(database, &entries, posted).await {
        // An entry that the database rejects must not fail the others.
        Err(DatabaseError::Refused(_)) if entries.len() > 1 => one_by_one(database, &entries, posted).await,
        Ok(settlements) => settlements.into_iter().map(|settled| settled.ok_or(LeaseError::Lost)).collect(),
        // The result is unknown for all of them.
        Err(error) => vec![Err(error.into())],
    };
    // Dropping a sender means that the result is unknown.
    for (sender, answer) in senders.into_iter().zip(answers) {
        // OK to ignore: the caller may be gone.
        let _ = sender.send(answer);
    }
}

async fn one_by_one(database: &Database, entries: &[LeasedAttempt], posted: PostedTypes) -> Vec<SettleResult> {
    let mut answers = Vec::with_capacity(entries.len());
    for entry in entries {
        let settled = transaction(database, std::slice::from_ref(entry), posted).await;
        answers.push(match settled {
            Ok(settlements) => settlements.into_iter().next().flatten().ok_or(LeaseError::Lost),
            Err(error) => Err(error.into()),
        });
    }
    answers
}

/// Runs the transaction, and repeats it after a conflict. Returns `None` for entries that lost their lease.
async fn transaction(
    database: &Database,
    entries: &[LeasedAttempt],
    posted: PostedTypes,
) -> Result<Vec<Option<Settlement>>, DatabaseError> {
    database.with_timeout_and_retry(BACKGROUND_TIMEOUT, || rows::settle(database.pool(), entries, posted)).await
}
