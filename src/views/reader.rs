//! Reads single renders for many callers: those that ask while a statement runs share the next one.
//!
//! Guaranteed: an answer is at least as new as its question, because the statement begins after the question arrived.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};

use super::row::{RenderRow, UnreadableRow, select_renders};
use super::view::RenderView;
use crate::archive::Store;
use crate::domain::RenderId;
use crate::runtime::{BatchLimits, BatchPlace, Database, DatabaseError, REQUEST_TIMEOUT, form_batches};

/// Questions in a statement. Two statements run at once, so that one that hangs does not stop all answers, and reading never
/// takes all connections.
const BATCHES: BatchLimits = BatchLimits { items: 64, weight: usize::MAX, in_flight: 2 };
/// How many questions wait at most before callers wait to ask.
const QUEUE: usize = 256;

type FoundRender = Result<Option<RenderView>, DatabaseError>;

/// A question.
struct Question {
    id: RenderId,
    answer: oneshot::Sender<FoundRender>,
}

/// Reads renders with their downloads, transitions, and notifications. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RenderReader(mpsc::Sender<Question>);

impl RenderReader {
    /// Starts to read from `database`. Objects are in `store`.
    #[must_use]
    pub fn start(database: Database, store: Store) -> Self {
        let (questions, waiting) = mpsc::channel(QUEUE);
        let statement = Arc::new(ReadStatement { database, store });
        let process = move |batch, place| statement.clone().answer(batch, place);
        tokio::spawn(form_batches(waiting, BATCHES, |_| 0, process));
        Self(questions)
    }

    /// Reads a render; `None` if it is unknown.
    pub async fn read(&self, id: &RenderId) -> FoundRender {
        let (answer, answered) = oneshot::channel();
        // The queue is never closed: the task that takes from it ends after the last sender.
        if self.0.send(Question { id: id.clone(), answer }).await.is_err() {
            return Err(DatabaseError::TimedOut);
        }
        answered.await.unwrap_or(Err(DatabaseError::TimedOut))
    }
}

struct ReadStatement {
    database: Database,
    store: Store,
}

impl ReadStatement {
    async fn answer(self: Arc<Self>, batch: Vec<Question>, place: BatchPlace) {
        // A caller that is gone needs no answer.
        let batch: Vec<_> = batch.into_iter().filter(|question| !question.answer.is_closed()).collect();
        let ids: Vec<_> = batch.iter().map(|question| question.id.as_str()).collect();
        if ids.is_empty() {
            return;
        }
        let rows = self.database.with_timeout(REQUEST_TIMEOUT, rows(self.database.pool(), &ids)).await;
        drop(place);
        let mut renders = rows.map(|rows| self.views(rows));
        for Question { id, answer } in batch {
            let found = match &mut renders {
                // Several may have asked for the same one.
                Ok(renders) => renders.get(id.as_str()).cloned().transpose().map_err(refused),
                Err(error) => Err(error.clone()),
            };
            // OK to ignore: the caller may be gone.
            let _ = answer.send(found);
        }
    }

    fn views(&self, rows: Vec<RenderRow>) -> HashMap<String, Result<RenderView, UnreadableRow>> {
        rows.into_iter().map(|row| (row.id.clone(), row.view(&self.store))).collect()
    }
}

fn refused(unreadable: UnreadableRow) -> DatabaseError {
    DatabaseError::Refused(unreadable.to_string())
}

async fn rows(pool: &PgPool, ids: &[&str]) -> sqlx::Result<Vec<RenderRow>> {
    let rows = select_renders!(
        ["renders"],
        "ARRAY(SELECT ROW (id, type, state, attempts, due_at, delivered_at, error)::shown_notification
               FROM notifications WHERE render_id = r.id AND state IS NOT NULL ORDER BY position)",
        // The sub-select hides how many are asked for, so that the plan is made once.
        "WHERE r.id = ANY ((SELECT $1::text[])::text[])",
        ids as _,
    );
    rows.fetch_all(pool).await
}
