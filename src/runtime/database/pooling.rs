//! Whether a pooler stands before the database, and whether it can be used.
//!
//! Found out by what it does, since poolers do not say what they are.

use std::collections::HashSet;

use sqlx::{Connection, PgConnection};

use super::connect::{ConnectError, ConnectFailure, Connector};

/// How often it is tried. Once is enough, unless somebody else uses the same pooler at that moment.
const ROUNDS: usize = 4;

/// Whether connections share sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Each is a session of its own: Postgres itself, or a pooler in session mode.
    Sessions,
    /// They share sessions: a pooler in transaction mode.
    Transactions,
}

impl Pooling {
    /// Finds out what `connector` leads to. A pooler that mixes up the prepared statements of its clients is an error.
    pub(super) async fn probe(connector: &Connector) -> Result<Self, ConnectError> {
        let (mut one, mut other) = (connector.connect().await?, connector.connect().await?);
        let are_shared = are_shared(&mut one, &mut other).await.unwrap_or(false);
        let are_apart = !are_shared || keeps_statements_apart(&mut one, &mut other).await;
        // OK to ignore: these connections are not used again.
        let _ = tokio::join!(one.close(), other.close());
        match (are_shared, are_apart) {
            (_, false) => Err(connector.failed(ConnectFailure::Pooler)),
            (true, true) => Ok(Self::Transactions),
            (false, true) => Ok(Self::Sessions),
        }
    }
}

/// Whether one server process answers both, or several answer one.
async fn are_shared(one: &mut PgConnection, other: &mut PgConnection) -> sqlx::Result<bool> {
    let (mut of_one, mut of_other) = (HashSet::new(), HashSet::new());
    for _ in 0..ROUNDS {
        of_one.insert(process(one).await?);
        of_other.insert(process(other).await?);
    }
    Ok(of_one.len() > 1 || of_other.len() > 1 || of_one == of_other)
}

async fn process(connection: &mut PgConnection) -> sqlx::Result<String> {
    // Not prepared.
    let row = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(connection).await?;
    sqlx::Row::try_get_unchecked(&row, 0)
}

/// Whether each connection gets the answer to its own prepared statement: sqlx gives both statements one name.
async fn keeps_statements_apart(one: &mut PgConnection, other: &mut PgConnection) -> bool {
    let mut are_apart = true;
    for _ in 0..ROUNDS {
        are_apart &= matches!(answers(one, other).await, Ok((1, 2)));
    }
    // OK to ignore: a pooler that cannot be used is not used again.
    let _ = one.clear_cached_statements().await;
    are_apart
}

async fn answers(one: &mut PgConnection, other: &mut PgConnection) -> sqlx::Result<(i32, i32)> {
    Ok((sqlx::query_scalar("SELECT 1").fetch_one(one).await?, sqlx::query_scalar("SELECT 2").fetch_one(other).await?))
}
