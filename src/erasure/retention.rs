//! `FILE_RETENTION`: erases renders whose files were stored long ago.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::request::{ErasureSource, request_erasure};
use crate::domain::RenderId;
use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database, Shutdown};

/// How often a process looks for old files.
const INTERVAL: Duration = Duration::from_mins(1);
/// How many renders it finds at once.
const BATCH: i64 = 100;

/// Requests the erasure of each render whose newest file was stored longer than `retention` ago, until the service stops.
pub async fn watch_file_retention(database: &Database, clock: &Clock, retention: Duration, shutdown: &Shutdown) {
    while !shutdown.is_stopping() {
        let now = clock.now();
        let found = old_renders(database.pool(), now - retention);
        let found = database.with_timeout(BACKGROUND_TIMEOUT, found).await.unwrap_or_default();
        let mut requested = 0;
        for id in &found {
            // OK to ignore: database errors are already logged, and the next round finds it again.
            if request_erasure(database, id, false, ErasureSource::Retention, now).await.is_ok() {
                requested += 1;
            }
        }
        if requested == 0 {
            shutdown.sleep(INTERVAL).await;
        }
    }
}

/// Some renders with files that were all stored before `before`. One with a file that is still to come is not old.
async fn old_renders(pool: &PgPool, before: DateTime<Utc>) -> sqlx::Result<Vec<RenderId>> {
    let ids = sqlx::query_scalar!(
        "SELECT DISTINCT render_id
         FROM (
             SELECT d.render_id
             FROM downloads AS d
             WHERE d.state = 'stored' AND d.stored_at < $1
                 AND NOT EXISTS (
                     SELECT FROM downloads AS o
                     WHERE o.render_id = d.render_id AND (o.state IN ('pending', 'downloading') OR o.stored_at >= $1)
                 )
             ORDER BY d.stored_at
             LIMIT $2
         ) AS oldest",
        before,
        BATCH,
    );
    Ok(ids.fetch_all(pool).await?.into_iter().filter_map(|id| id.parse().ok()).collect())
}
