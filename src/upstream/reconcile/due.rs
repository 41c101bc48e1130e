//! Which render is polled next, and what its row says after the answer: the columns `poll_…`, `not_found_at` and `stalled_at`
//! of `renders`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgPool, PgTransaction};

use super::schedule::{Next, Schedule};
use super::settlement::{Outcome, PolledRender, Settlement};
use crate::domain::{Kind, RenderId, Status};
use crate::upstream::throttle::{CLOCK_SKEW, Throttle, Turn};

/// How long a poll may take before another process repeats it.
const CLAIM: Duration = Duration::from_mins(2);
/// How many rows a statement puts in the queue, so that none runs long.
const BATCH: i64 = 1000;

/// A render that this process polls.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) id: RenderId,
    pub(super) kind: Kind,
    /// Whether something waits for the answer.
    pub(super) wanted: bool,
    /// Whether Magic Hour did not know it when it was polled before.
    pub(super) was_not_found: bool,
    /// The end of the claim, which identifies it.
    until: DateTime<Utc>,
}

/// Claims the render to poll at `now`: one that something waits for before the others, then the one that was neither seen
/// nor polled for longest. `None` if none is due, or it is not our turn.
pub(super) async fn claim(
    pool: &PgPool,
    throttle: &Throttle,
    schedule: &Schedule,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Claim>> {
    let mut transaction = pool.begin().await?;
    let claim = match throttle.take_turn(&mut transaction, now).await? {
        Turn::Granted => claim_due(&mut transaction, schedule, now).await?,
        Turn::TooEarly | Turn::Paused => None,
    };
    // A turn is spent only on a claim.
    match claim {
        Some(_) => transaction.commit().await?,
        None => transaction.rollback().await?,
    }
    Ok(claim)
}

async fn claim_due(
    transaction: &mut PgTransaction<'_>,
    schedule: &Schedule,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Claim>> {
    let row = sqlx::query!(
        r#"UPDATE renders
           SET poll_due_at = $4, poll_claimed_until = $4, polled_at = $1
           WHERE id = (
               SELECT id
               FROM renders
               WHERE (NOT finished OR poll_wanted)
                   AND coalesce(poll_due_at, last_seen_at) <= $1
                   AND (poll_due_at IS NOT NULL OR last_seen_at <= $2)
                   -- What lies further ahead than it can was written by a clock that was wrong.
                   AND coalesce(polled_at <= $3 OR polled_at > $5, true)
                   AND coalesce(poll_claimed_until <= $1 OR poll_claimed_until > $6, true)
               ORDER BY poll_wanted DESC, greatest(last_seen_at, polled_at), id
               LIMIT 1
               FOR UPDATE SKIP LOCKED
           )
           RETURNING id, kind, poll_wanted, not_found_at, poll_claimed_until AS "until!""#,
        now,
        now - schedule.after,
        now - schedule.min_interval(),
        now + CLAIM,
        now + CLOCK_SKEW,
        now + CLAIM + CLOCK_SKEW,
    );
    let Some(row) = row.fetch_optional(&mut **transaction).await? else { return Ok(None) };
    Ok(Some(Claim {
        id: row.id.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        kind: row.kind.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        wanted: row.poll_wanted,
        was_not_found: row.not_found_at.is_some(),
        until: row.until,
    }))
}

/// Makes every render due that is unfinished or wanted, but for those that are polled right now and those that are
/// abandoned. Rows that others have locked are skipped: they are being written anyway.
pub(super) async fn make_all_due(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<()> {
    loop {
        let due = sqlx::query!(
            "UPDATE renders SET poll_due_at = $1
             WHERE id IN (
                 SELECT id
                 FROM renders
                 WHERE (NOT finished OR poll_wanted)
                     AND coalesce(poll_due_at > $1, true)
                     AND poll_due_at IS DISTINCT FROM 'infinity'
                     AND coalesce(poll_claimed_until <= $1 OR poll_claimed_until > $2, true)
                 LIMIT $3
                 FOR UPDATE SKIP LOCKED
             )",
            now,
            now + CLAIM + CLOCK_SKEW,
            BATCH,
        );
        if due.execute(pool).await?.rows_affected() == 0 {
            return Ok(());
        }
    }
}

/// Makes every render due whose next poll lies further ahead than any gap of `schedule`, or that was last seen in the
/// future: a clock that was ahead wrote that.
pub(super) async fn make_stranded_due(pool: &PgPool, schedule: &Schedule, now: DateTime<Utc>) -> sqlx::Result<()> {
    loop {
        let due = sqlx::query!(
            "UPDATE renders SET poll_due_at = $1
         WHERE id IN (
             SELECT id
             FROM renders
             WHERE (NOT finished OR poll_wanted)
                 AND coalesce(poll_due_at, last_seen_at) > $2
                 AND coalesce(poll_due_at > $3 AND poll_due_at < 'infinity', true)
             LIMIT $4
             FOR UPDATE SKIP LOCKED
         )",
            now,
            now + CLOCK_SKEW,
            now + schedule.longest_gap() + CLOCK_SKEW,
            BATCH,
        );
        if due.execute(pool).await?.rows_affected() == 0 {
            return Ok(());
        }
    }
}

/// Settles a poll: says when the render is polled next, and lets files try that waited for the answer. What an event or a
/// request has changed since the claim stays as it is.
pub(super) async fn settle(
    pool: &PgPool,
    claim: &Claim,
    outcome: Outcome,
    schedule: &Schedule,
    chance: f64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let mut transaction = pool.begin().await?;
    // The claim may have run out: then another process settles.
    let Some(claimed) = lock(&mut transaction, claim).await? else { return Ok(()) };
    let releases_files = if claimed.is_untouched {
        let settlement = claimed.render.settle(outcome, schedule, now, chance);
        write(&mut transaction, claim, &claimed.render, &settlement, now).await?;
        settlement.releases_files
    } else {
        release(&mut transaction, claim).await?;
        claim.wanted && !matches!(outcome, Outcome::Failed { .. })
    };
    if releases_files {
        release_files(&mut transaction, claim, now).await?;
    }
    transaction.commit().await
}

struct Claimed {
    render: PolledRender,
    /// Whether nobody has changed since the claim when it is to be polled.
    is_untouched: bool,
}

async fn lock(transaction: &mut PgTransaction<'_>, claim: &Claim) -> sqlx::Result<Option<Claimed>> {
    let row = sqlx::query!(
        r#"SELECT
               status, poll_wanted, failure_confirmed, poll_attempts, first_seen_at, not_found_at, stalled_at,
               coalesce(poll_due_at = $2, false) AS "is_untouched!",
               files_total = 0 OR EXISTS (SELECT FROM downloads WHERE render_id = $1 AND url IS NULL) AS "lacks_urls!"
           FROM renders
           WHERE id = $1 AND poll_claimed_until = $2
           FOR UPDATE"#,
        claim.id.as_str(),
        claim.until,
    );
    let Some(row) = row.fetch_optional(&mut **transaction).await? else { return Ok(None) };
    let status = row.status.as_deref().map(str::parse::<Status>).transpose();
    Ok(Some(Claimed {
        render: PolledRender {
            status: status.map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            wanted: row.poll_wanted,
            failure_confirmed: row.failure_confirmed,
            lacks_urls: row.lacks_urls,
            attempts: row.poll_attempts.unsigned_abs(),
            first_seen_at: row.first_seen_at,
            not_found_at: row.not_found_at,
            stalled_at: row.stalled_at,
        },
        is_untouched: row.is_untouched,
    }))
}

async fn write(
    transaction: &mut PgTransaction<'_>,
    claim: &Claim,
    before: &PolledRender,
    after: &Settlement,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (due_at, never) = match after.next {
        None => (None, false),
        Some(Next::At(at)) => (Some(at), false),
        Some(Next::Never) => (None, true),
    };
    let is_news = (before.not_found_at, before.stalled_at) != (after.not_found_at, after.stalled_at);
    let written = sqlx::query!(
        "UPDATE renders
         SET poll_claimed_until = NULL,
             poll_due_at = CASE WHEN $3 THEN 'infinity' ELSE $2::timestamptz END,
             poll_wanted = $4, poll_attempts = $5, not_found_at = $6, stalled_at = $7,
             updated_at = greatest(updated_at, $8)
         WHERE id = $1",
        claim.id.as_str(),
        due_at,
        never,
        after.wanted,
        i32::try_from(after.attempts).unwrap_or(i32::MAX),
        after.not_found_at,
        after.stalled_at,
        is_news.then_some(now),
    );
    let written = written.execute(&mut **transaction).await?;
    debug_assert_eq!(written.rows_affected(), 1, "its row is locked");
    Ok(())
}

async fn release(transaction: &mut PgTransaction<'_>, claim: &Claim) -> sqlx::Result<()> {
    let released = sqlx::query!("UPDATE renders SET poll_claimed_until = NULL WHERE id = $1", claim.id.as_str());
    let released = released.execute(&mut **transaction).await?;
    debug_assert_eq!(released.rows_affected(), 1, "its row is locked");
    Ok(())
}

/// Lets the files of a render try that waited for the answer. There may be none.
async fn release_files(transaction: &mut PgTransaction<'_>, claim: &Claim, now: DateTime<Utc>) -> sqlx::Result<()> {
    let released = sqlx::query!(
        "UPDATE downloads SET due_at = $2 WHERE render_id = $1 AND state = 'pending' AND due_at > $2",
        claim.id.as_str(),
        now,
    );
    released.execute(&mut **transaction).await.map(drop)
}
