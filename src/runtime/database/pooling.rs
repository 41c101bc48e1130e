//! Detects a pooler between this process and Postgres.
//!
//! Poolers do not identify themselves, so they are detected by their behavior.

use std::collections::HashSet;

use sqlx::{Connection, PgConnection};

use super::connect::DatabaseConnector;
use super::connect_error::{ConnectError, ConnectFailure};

/// How many times each check is repeated. Once would be enough if no other client used the pooler at the same time.
const ROUNDS: usize = 4;

/// How connections map to Postgres sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Each connection has its own session: Postgres itself, or a pooler in session mode.
    Session,
    /// Connections share sessions: a pooler in transaction mode.
    Transaction,
}

impl Pooling {
    /// Detects the pooling mode. It is an error if the pooler confuses the prepared statements of different clients.
    pub(super) async fn detect(connector: &DatabaseConnector) -> Result<Self, ConnectError> {
        let (mut first, mut second) = (connector.connect().await?, connector.connect().await?);
        let share_sessions = share_sessions(&mut first, &mut second).await.unwrap_or(false);
        let has_safe_statements = !share_sessions || separates_statements(&mut first, &mut second).await;
        // OK to ignore: these connections are not used again.
        let _ = tokio::join!(first.close(), second.close());
        match (share_sessions, has_safe_statements) {
            (_, false) => Err(connector.error(ConnectFailure::Pooler)),
            (true, true) => Ok(Self::Transaction),
            (false, true) => Ok(Self::Session),
        }
    }
}

/// Whether both connections reach the same server process, or one of them reaches several.
async fn share_sessions(first: &mut PgConnection, second: &mut PgConnection) -> sqlx::Result<bool> {
    let (mut first_pids, mut second_pids) = (HashSet::new(), HashSet::new());
    for _ in 0..ROUNDS {
        first_pids.insert(backend_pid(first).await?);
        second_pids.insert(backend_pid(second).await?);
    }
    Ok(first_pids.len() > 1 || second_pids.len() > 1 || first_pids == second_pids)
}

async fn backend_pid(connection: &mut PgConnection) -> sqlx::Result<String> {
    // `raw_sql` does not prepare the statement.
    let row = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(connection).await?;
    sqlx::Row::try_get_unchecked(&row, 0)
}

/// Whether each connection gets the result of its own prepared statement. sqlx gives both statements the same name.
async fn separates_statements(first: &mut PgConnection, second: &mut PgConnection) -> bool {
    let mut separates = true;
    for _ in 0..ROUNDS {
        separates &= matches!(prepared_results(first, second).await, Ok((1, 2)));
    }
    // OK to ignore: a pooler that confuses statements is not used again.
    let _ = first.clear_cached_statements().await;
    separates
}

async fn prepared_results(first: &mut PgConnection, second: &mut PgConnection) -> sqlx::Result<(i32, i32)> {
    Ok((
        sqlx::query_scalar("SELECT 1").fetch_one(first).await?,
        sqlx::query_scalar("SELECT 2").fetch_one(second).await?,
    ))
}
