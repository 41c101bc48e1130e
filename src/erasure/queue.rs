//! The queue of erasures: the table `erasures`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::domain::{Kind, ObjectKey, RenderId};
use crate::runtime::begin;
use crate::upstream::{AccountId, DeletionOutcome};

/// How long an attempt may take before another process repeats it.
const LEASE: Duration = Duration::from_mins(5);
/// The first and the maximum delay before a retry.
const RETRY_DELAY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(1));

/// A claim to erase a render.
#[derive(Debug)]
pub(super) struct ErasureClaim {
    pub(super) id: RenderId,
    pub(super) kind: Kind,
    /// The account that is known to own the project.
    pub(super) account: Option<AccountId>,
    /// Whether the objects are gone for good.
    pub(super) is_local_done: bool,
    /// Whether the project is to be deleted.
    pub(super) upstream: bool,
    /// Until when an object may still appear.
    pub(super) sweep_at: Option<DateTime<Utc>>,
    attempts: u32,
    lease: Uuid,
}

/// A file whose object is to be deleted.
#[derive(Debug)]
pub(super) struct ErasedFile {
    pub(super) key: ObjectKey,
    /// The store's reference to a partial upload.
    pub(super) upload: Option<String>,
}

/// Claims the erasure that is due the longest.
pub(super) async fn claim(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Option<ErasureClaim>> {
    let lease = Uuid::new_v4();
    // Only of this table, so that looking for work waits for nobody.
    let claimed = sqlx::query!(
        "UPDATE erasures SET lease = $2, due_at = $3, attempts = attempts + 1
         WHERE render_id = (
             SELECT render_id FROM erasures
             -- A time further ahead than possible comes from a clock that was wrong.
             WHERE due_at <= $1 OR due_at > $4
             ORDER BY due_at
             LIMIT 1
             FOR UPDATE SKIP LOCKED
         )
         RETURNING render_id, upstream, sweep_at, attempts",
        now,
        lease,
        now + LEASE,
        now + RETRY_DELAY.1 + super::SWEEP_DELAY + Duration::from_hours(2),
    );
    let Some(claimed) = claimed.fetch_optional(pool).await? else { return Ok(None) };
    let row = sqlx::query!(
        r#"SELECT kind, account, erased_at IS NOT NULL AS "is_local_done!" FROM renders WHERE id = $1"#,
        claimed.render_id,
    );
    let row = row.fetch_one(pool).await?;
    Ok(Some(ErasureClaim {
        id: claimed.render_id.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        kind: row.kind.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        account: row.account.and_then(|account| account.parse().ok()),
        is_local_done: row.is_local_done,
        upstream: claimed.upstream,
        sweep_at: claimed.sweep_at,
        attempts: claimed.attempts.unsigned_abs(),
        lease,
    }))
}

/// The files of a render whose objects may still be there.
pub(super) async fn files(pool: &PgPool, id: &RenderId) -> sqlx::Result<Vec<ErasedFile>> {
    let rows = sqlx::query!(
        r#"SELECT d.key, c.upload AS "upload?"
           FROM downloads AS d LEFT JOIN checkpoints AS c ON c.render_id = d.render_id AND c.index = d.index
           WHERE d.render_id = $1
           ORDER BY d.index"#,
        id.as_str(),
    );
    let rows = rows.fetch_all(pool).await?;
    Ok(rows.into_iter().map(|row| ErasedFile { key: ObjectKey::from_row(row.key), upload: row.upload }).collect())
}

/// Forgets the objects, which are gone, and sets `erased_at`. Returns `false` if the lease was lost.
pub(super) async fn finish_local(pool: &PgPool, claim: &ErasureClaim, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let mut transaction = begin(pool, "BEGIN").await?;
    // Renders are locked first, as everywhere.
    let erased = sqlx::query!(
        "UPDATE renders SET erased_at = $3, updated_at = greatest(updated_at, $3)
         WHERE id = $1 AND EXISTS (SELECT FROM erasures WHERE render_id = $1 AND lease = $2)",
        claim.id.as_str(),
        claim.lease,
        now,
    );
    if erased.execute(&mut *transaction).await?.rows_affected() == 0 {
        return Ok(false);
    }
    let forgotten = sqlx::query!("DELETE FROM downloads WHERE render_id = $1", claim.id.as_str());
    forgotten.execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Saves what became of the project.
pub(super) async fn save_deletion(pool: &PgPool, claim: &ErasureClaim, outcome: DeletionOutcome) -> sqlx::Result<()> {
    let saved = sqlx::query!("UPDATE renders SET deletion = $2 WHERE id = $1", claim.id.as_str(), outcome.as_str());
    saved.execute(pool).await.map(drop)
}

/// Removes the job, unless the deletion of the project was asked for meanwhile. Then it is due.
pub(super) async fn finish(pool: &PgPool, claim: &ErasureClaim, now: DateTime<Utc>) -> sqlx::Result<()> {
    let removed = sqlx::query!(
        "DELETE FROM erasures WHERE render_id = $1 AND lease = $2 AND upstream = $3",
        claim.id.as_str(),
        claim.lease,
        claim.upstream,
    );
    if removed.execute(pool).await?.rows_affected() == 0 {
        return postpone(pool, claim, now, false).await;
    }
    Ok(())
}

/// Makes the job due at `at`. Unless it failed, its attempts are counted from zero again.
pub(super) async fn postpone(pool: &PgPool, claim: &ErasureClaim, at: DateTime<Utc>, failed: bool) -> sqlx::Result<()> {
    let written = sqlx::query!(
        "UPDATE erasures SET due_at = $3, lease = NULL, attempts = CASE WHEN $4 THEN attempts ELSE 0 END
         WHERE render_id = $1 AND lease = $2",
        claim.id.as_str(),
        claim.lease,
        at,
        failed,
    );
    // OK if no row is updated: then another process has taken over.
    written.execute(pool).await.map(drop)
}

impl ErasureClaim {
    /// How long to wait after this attempt failed. `jitter` is from 0 to 1.
    pub(super) fn retry_delay(&self, jitter: f64) -> Duration {
        let (first, max) = RETRY_DELAY;
        let delay = first.saturating_mul(1 << self.attempts.saturating_sub(1).min(20)).min(max);
        delay.mul_f64(1.0 - 0.2 * jitter.clamp(0.0, 1.0))
    }
}
