//! `EVENT_RETENTION`: raw bodies are pruned, everything else of a delivery stays.
//!
//! What tells duplicates stands with the render (`renders.heard`) and is never pruned.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::runtime::Clock;
use crate::runtime::Shutdown;
use crate::runtime::{BACKGROUND, Database};

/// How often bodies are pruned.
const EVERY: Duration = Duration::from_hours(1);
/// How many bodies a statement prunes, so that none runs long.
const BATCH: i64 = 500;

/// Prunes the bodies of up to `limit` deliveries from before `before`, and says how many they were.
pub async fn prune(pool: &PgPool, before: DateTime<Utc>, limit: i64) -> sqlx::Result<u64> {
    let pruned = sqlx::query!(
        "UPDATE deliveries SET body = NULL
         WHERE id IN (
             SELECT id FROM deliveries WHERE body IS NOT NULL AND received_at < $1
             ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED
         )",
        before,
        limit,
    );
    Ok(pruned.execute(pool).await?.rows_affected())
}

/// Prunes what is older than `retention`, again and again, until it is time to stop.
pub async fn run(database: &Database, clock: &Clock, retention: Duration, shutdown: &Shutdown) {
    while !shutdown.is_stopping() {
        let before = clock.now() - retention;
        let pruned = database.within(BACKGROUND, prune(database.pool(), before, BATCH)).await.unwrap_or_default();
        if pruned > 0 {
            continue;
        }
        tokio::select! {
            () = shutdown.stopping() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
