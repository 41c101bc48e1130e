//! Claiming: in batches, the most urgent first, and from no host more than its share.
//!
//! Two indexes serve it, so that it reads only what it takes, however much is due or waits: [`mark_ready`] finds what has
//! fallen due since the last claim, [`lock_ready`] takes what is ready in the order in which the URLs expire.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Capacity, ClaimedDownload, Lease};
use crate::archive::backoff::LONGEST_WAIT;
use crate::domain::{DownloadState, ObjectKey, SignedUrl};
use crate::runtime::{BACKGROUND_TIMEOUT, Database, DatabaseError, begin};

/// A process that dies between two statements holds its locks no longer than this. Rows are found by their keys, whatever
/// the statistics say: a plan made while the table was empty would read all of it until the next ANALYZE.
///
/// The commit does not wait for the disk. If the database crashes and forgets a claim, another worker takes the download,
/// and the one that had it can settle nothing, because its lease is not in the row.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '5s'; \
    SET LOCAL synchronous_commit = off; \
    SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

/// Claims downloads that are due at `now` for `lease`, as many as `capacity` allows. Those whose URLs expire first go
/// first.
pub async fn claim_downloads(
    database: &Database,
    now: DateTime<Utc>,
    lease: Duration,
    capacity: &Capacity,
) -> Result<Vec<ClaimedDownload>, DatabaseError> {
    let claiming = async {
        let mut transaction = begin(database.pool(), BEGIN).await?;
        // No clock that is right schedules anything later than this.
        let too_late = now + lease.max(LONGEST_WAIT);
        mark_ready(&mut transaction, now, too_late).await?;
        let claimed = lock_ready(&mut transaction, now, capacity).await?;
        write(&mut transaction, &claimed, now, now + lease).await?;
        transaction.commit().await?;
        Ok(claimed)
    };
    database.with_timeout(BACKGROUND_TIMEOUT, claiming).await
}

/// Marks the downloads whose time has come, or is so far away that a wrong clock has set it.
async fn mark_ready(transaction: &mut PgConnection, now: DateTime<Utc>, too_late: DateTime<Utc>) -> sqlx::Result<()> {
    let marked = sqlx::query_file!("src/archive/queue/statements/mark_ready.sql", now, too_late);
    marked.execute(transaction).await.map(drop)
}

/// Locks the downloads that are claimed, each with a new lease.
async fn lock_ready(
    transaction: &mut PgConnection,
    now: DateTime<Utc>,
    capacity: &Capacity,
) -> sqlx::Result<Vec<ClaimedDownload>> {
    let (hosts, counts): (Vec<_>, Vec<_>) = capacity.in_progress.iter().cloned().unzip();
    let rows = sqlx::query_file!(
        "src/archive/queue/statements/lock_ready.sql",
        capacity.limit,
        capacity.per_host,
        &hosts,
        &counts,
    );
    let claimed = rows.fetch_all(transaction).await?.into_iter().filter_map(|row| {
        // OK because every id was parsed before it was recorded.
        let render_id = row.render_id.parse().ok()?;
        Some(ClaimedDownload {
            lease: Lease { render_id, index: row.index, token: Uuid::new_v4() },
            url: SignedUrl::parse(&row.url),
            expires_at: row.expires_at,
            key: ObjectKey::from_row(row.key),
            attempt: row.attempts.unsigned_abs() + 1,
            first_attempt_at: row.first_attempt_at.unwrap_or(now),
            taken_over: row.state == DownloadState::Downloading.as_str(),
            // A failed one that is retried has no first attempt, but an error.
            is_untouched: row.first_attempt_at.is_none() && row.error_code.is_none(),
        })
    });
    Ok(claimed.collect())
}

/// Writes the leases of locked downloads.
async fn write(
    transaction: &mut PgConnection,
    claimed: &[ClaimedDownload],
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<()> {
    if claimed.is_empty() {
        return Ok(());
    }
    let written = sqlx::query!(
        "UPDATE downloads AS d
         SET state = 'downloading', ready = false, lease = n.lease, due_at = $6, attempts = n.attempts,
             first_attempt_at = n.first_attempt_at, updated_at = $7, bytes_done = NULL, bytes_total = NULL
         FROM unnest($1::text[], $2::int4[], $3::uuid[], $4::int4[], $5::timestamptz[])
             AS n (render_id, index, lease, attempts, first_attempt_at)
         WHERE d.render_id = n.render_id AND d.index = n.index",
        &claimed.iter().map(|it| it.lease.render_id.as_str()).collect::<Vec<_>>() as _,
        &claimed.iter().map(|it| it.lease.index).collect::<Vec<_>>(),
        &claimed.iter().map(|it| it.lease.token).collect::<Vec<_>>(),
        &claimed.iter().map(|it| it.attempt.cast_signed()).collect::<Vec<_>>(),
        &claimed.iter().map(|it| it.first_attempt_at).collect::<Vec<_>>(),
        until,
        now,
    );
    let written = written.execute(transaction).await?;
    debug_assert_eq!(written.rows_affected(), claimed.len() as u64, "the rows are locked");
    Ok(())
}
