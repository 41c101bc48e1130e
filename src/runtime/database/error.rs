//! Why a statement failed: what an error of sqlx means to the service.

use super::connect;

/// Why a statement returned nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// The database cannot be reached.
    #[error("the database cannot be reached")]
    Unreachable,
    /// The statement did not finish in time. Whether it had an effect is not known.
    #[error("the database did not answer in time")]
    TimedOut,
    /// The statement lost against another one, and had no effect: it may be run again.
    #[error("the statement met another one that changes the same rows")]
    Conflict,
    /// The database refused the statement, which had no effect. It says why.
    #[error("the database refused a statement: {0}")]
    Refused(String),
}

/// What an error of sqlx means.
pub(super) enum Failure {
    Unreachable,
    /// No connection was free, or none could be made: which of the two, an examination finds out.
    NoConnection,
    TimedOut,
    Conflict,
    Refused,
}

impl Failure {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Self::Unreachable
            }
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Self::NoConnection,
            sqlx::Error::Database(refusal) => match refusal.code().as_deref().unwrap_or_default() {
                // Serialization failure, deadlock.
                "40001" | "40P01" => Self::Conflict,
                // Lock timeout, canceled by statement_timeout.
                "55P03" | "57014" => Self::TimedOut,
                code if connect::is_unavailable(code) => Self::Unreachable,
                _ => Self::Refused,
            },
            _ => Self::Refused,
        }
    }
}

/// Whether a statement named a table that is not there.
pub(super) fn is_undefined_table(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|refusal| refusal.code().as_deref() == Some("42P01"))
}
