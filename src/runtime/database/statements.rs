//! Runs statements with time limits, and notices what their failures say about the database.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::error;

use super::Database;
use super::error::{DatabaseError, ErrorClass, is_conflict};
use crate::runtime::log::LogEvent;

/// The time limit of a statement for a request, including connecting.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// The time limit of a statement for background work.
pub const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(10);

/// The average delay before a statement is retried after a conflict.
const CONFLICT_DELAY: Duration = Duration::from_millis(20);

impl Database {
    /// Whether a transaction failed because of a concurrent one, had no effect, and can be repeated.
    #[must_use]
    pub fn is_conflict(error: &sqlx::Error) -> bool {
        error.as_database_error().is_some_and(is_conflict)
    }

    /// Runs a statement with a time limit.
    pub async fn with_timeout<T>(
        &self,
        limit: Duration,
        statement: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T, DatabaseError> {
        self.with_deadline(Instant::now() + limit, statement).await
    }

    /// Runs a statement with a time limit, and retries it after a conflict with a concurrent statement. For statements
    /// that change several rows.
    pub async fn with_timeout_and_retry<T, S>(
        &self,
        limit: Duration,
        mut statement: impl FnMut() -> S,
    ) -> Result<T, DatabaseError>
    where
        S: Future<Output = sqlx::Result<T>>,
    {
        let deadline = Instant::now() + limit;
        loop {
            match self.with_deadline(deadline, statement()).await {
                Err(DatabaseError::Conflict) if Instant::now() < deadline => {
                    let delay = CONFLICT_DELAY.mul_f64(rand::random_range(0.5..1.5));
                    tokio::time::sleep(delay).await;
                }
                result => return result,
            }
        }
    }

    async fn with_deadline<T>(
        &self,
        deadline: Instant,
        statement: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T, DatabaseError> {
        let error = match timeout_at(deadline, statement).await {
            Ok(Ok(value)) => {
                self.0.reachability.mark_reachable();
                return Ok(value);
            }
            Ok(Err(error)) => error,
            Err(_elapsed) => {
                self.examine();
                return Err(DatabaseError::TimedOut);
            }
        };
        Err(match ErrorClass::of(&error) {
            ErrorClass::Unreachable => {
                self.0.reachability.mark_unreachable(&error.to_string());
                DatabaseError::Unreachable
            }
            ErrorClass::NoConnection | ErrorClass::TimedOut => {
                self.examine();
                DatabaseError::TimedOut
            }
            ErrorClass::Conflict => DatabaseError::Conflict,
            ErrorClass::Refused => {
                // Logged here, once, because it is a bug or a missing privilege.
                error!(event = %LogEvent::DatabaseRefused, error = %error, "the database refused a statement");
                DatabaseError::Refused(error.to_string())
            }
        })
    }

    /// Finds out why a statement timed out, unless another task is already doing so.
    fn examine(&self) {
        let inner = self.0.clone();
        inner.reachability.count_slow_statement();
        tokio::spawn(async move { inner.reachability.examine(&inner.connector, &inner.pools).await });
    }
}
