//! Why a statement failed: what an sqlx error means for the service.

use super::connect_error;

/// Why a statement failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// The database cannot be reached.
    #[error("the database cannot be reached")]
    Unreachable,
    /// The statement did not finish in time. It may or may not have taken effect.
    #[error("the database did not answer in time")]
    TimedOut,
    /// The statement conflicted with a concurrent one and had no effect. It can be retried.
    #[error("the statement conflicted with another one on the same rows")]
    Conflict,
    /// Postgres rejected the statement, which had no effect. Contains Postgres' message.
    #[error("the database refused a statement: {0}")]
    Refused(String),
}

/// The classes of sqlx errors.
pub(super) enum ErrorClass {
    Unreachable,
    /// No connection was available. Either all are busy, or none can be opened.
    NoConnection,
    TimedOut,
    Conflict,
    Refused,
}

impl ErrorClass {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Self::Unreachable
            }
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Self::NoConnection,
            sqlx::Error::Database(error) => match error.code().as_deref().unwrap_or_default() {
                _ if is_conflict(error.as_ref()) => Self::Conflict,
                // lock_not_available, query_canceled (by statement_timeout)
                "55P03" | "57014" => Self::TimedOut,
                code if connect_error::is_unavailable(code) => Self::Unreachable,
                _ => Self::Refused,
            },
            _ => Self::Refused,
        }
    }
}

/// Whether a transaction failed because of a concurrent one, had no effect, and can be repeated.
pub(super) fn is_conflict(error: &dyn sqlx::error::DatabaseError) -> bool {
    match error.code().as_deref() {
        // serialization_failure, deadlock_detected
        Some("40001" | "40P01") => true,
        // check_violation of no constraint: a row went to the default partition while another one was attached for it.
        Some("23514") => error.constraint().is_none(),
        _ => false,
    }
}

/// Whether a statement failed because a table does not exist.
pub(super) fn is_undefined_table(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42P01"))
}
