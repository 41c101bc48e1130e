//! The queue of renders to poll: the columns `poll_…`, `not_found_at`, and `stalled_at` of `renders`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgQueryResult;
use sqlx::{PgPool, PgTransaction};

use super::schedule::Schedule;
use crate::domain::{Kind, RenderId};
use crate::runtime::begin;
use crate::upstream::accounts::{AccountId, ProjectFinder};
use crate::upstream::throttle::{CLOCK_SKEW, paused_accounts};

/// How long a poll may take before another process repeats it.
const CLAIM_DURATION: Duration = Duration::from_mins(2);
/// The maximum number of rows per statement, so that none takes long.
const BATCH: i64 = 1000;

/// A claim to poll a render.
#[derive(Debug)]
pub(super) struct PollClaim {
    pub(super) id: RenderId,
    pub(super) kind: Kind,
    /// The account that is known to own it.
    pub(super) account: Option<AccountId>,
    /// Whether the poll was requested.
    pub(super) requested: bool,
    /// Whether the previous poll did not find it.
    pub(super) was_not_found: bool,
    /// When the claim expires. This also identifies the claim.
    pub(super) until: DateTime<Utc>,
}

/// Claims the next render to poll: first those with a requested poll, then the one without webhook or poll for the longest
/// time. Renders of paused accounts are left out. Returns `None` if none is due or the throttle does not allow a call.
pub(super) async fn claim(
    pool: &PgPool,
    finder: &ProjectFinder,
    schedule: &Schedule,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<PollClaim>> {
    let mut transaction = begin(pool, "BEGIN").await?;
    let claim = if finder.throttle.take_turn(&mut transaction, now).await? {
        let paused = paused_accounts(&mut *transaction, now).await?;
        let all_paused = finder.accounts.iter().all(|account| paused.iter().any(|it| it == account.id.as_str()));
        if all_paused { None } else { claim_due(&mut transaction, &paused, schedule, now).await? }
    } else {
        None
    };
    // Without a claim, the turn is not used up.
    match claim {
        Some(_) => transaction.commit().await?,
        None => transaction.rollback().await?,
    }
    Ok(claim)
}

async fn claim_due(
    transaction: &mut PgTransaction<'_>,
    paused: &[String],
    schedule: &Schedule,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<PollClaim>> {
    let row = sqlx::query!(
        r#"UPDATE renders
           SET poll_due_at = $4, poll_claimed_until = $4, polled_at = $1
           WHERE id = (
               SELECT id
               FROM renders
               WHERE (NOT finished OR poll_requested)
                   AND coalesce(poll_due_at, last_seen_at) <= $1
                   AND (poll_due_at IS NOT NULL OR last_seen_at <= $2)
                   -- A time further ahead than possible comes from a clock that was wrong.
                   AND coalesce(polled_at <= $3 OR polled_at > $5, true)
                   AND coalesce(poll_claimed_until <= $1 OR poll_claimed_until > $6, true)
                   AND coalesce(account <> ALL ($7), true)
               ORDER BY poll_requested DESC, greatest(last_seen_at, polled_at), id
               LIMIT 1
               FOR UPDATE SKIP LOCKED
           )
           RETURNING id, kind, account, poll_requested, not_found_at, poll_claimed_until AS "until!""#,
        now,
        now - schedule.initial_delay,
        now - schedule.min_interval(),
        now + CLAIM_DURATION,
        now + CLOCK_SKEW,
        now + CLAIM_DURATION + CLOCK_SKEW,
        paused,
    );
    let Some(row) = row.fetch_optional(&mut **transaction).await? else { return Ok(None) };
    Ok(Some(PollClaim {
        account: row.account.and_then(|account| account.parse().ok()),
        id: row.id.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        kind: row.kind.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        requested: row.poll_requested,
        was_not_found: row.not_found_at.is_some(),
        until: row.until,
    }))
}

/// When the first poll is due of all renders that are polled; to within `initial_delay`, after which a render is polled
/// that has no time of its own.
pub async fn first_due_poll(pool: &PgPool, initial_delay: Duration) -> sqlx::Result<Option<DateTime<Utc>>> {
    let first = sqlx::query!(
        "SELECT poll_due_at, last_seen_at FROM renders
         WHERE (NOT finished OR poll_requested) AND coalesce(poll_due_at, last_seen_at) < 'infinity'
         ORDER BY coalesce(poll_due_at, last_seen_at) LIMIT 1",
    );
    let first = first.fetch_optional(pool).await?;
    Ok(first.map(|render| render.poll_due_at.unwrap_or(render.last_seen_at + initial_delay)))
}

/// Makes every render due that is unfinished or has a requested poll, except those being polled and those that are no longer
/// polled. Locked rows are skipped, because they are being updated anyway.
pub(super) async fn make_all_due(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<()> {
    until_none_is_left(|| {
        let due = sqlx::query!(
            "UPDATE renders SET poll_due_at = $1
             WHERE id IN (
                 SELECT id
                 FROM renders
                 WHERE (NOT finished OR poll_requested)
                     AND coalesce(poll_due_at > $1, true)
                     AND poll_due_at IS DISTINCT FROM 'infinity'
                     AND coalesce(poll_claimed_until <= $1 OR poll_claimed_until > $2, true)
                 LIMIT $3
                 FOR UPDATE SKIP LOCKED
             )",
            now,
            now + CLAIM_DURATION + CLOCK_SKEW,
            BATCH,
        );
        due.execute(pool)
    })
    .await
}

/// Makes every render due whose next poll is further ahead than `schedule` allows, or that was last seen in the future:
/// such times come from a clock that was wrong.
pub(super) async fn make_stranded_due(pool: &PgPool, schedule: &Schedule, now: DateTime<Utc>) -> sqlx::Result<()> {
    until_none_is_left(|| {
        let due = sqlx::query!(
            "UPDATE renders SET poll_due_at = $1
         WHERE id IN (
             SELECT id
             FROM renders
             WHERE (NOT finished OR poll_requested)
                 AND coalesce(poll_due_at, last_seen_at) > $2
                 AND coalesce(poll_due_at > $3 AND poll_due_at < 'infinity', true)
             LIMIT $4
             FOR UPDATE SKIP LOCKED
         )",
            now,
            now + CLOCK_SKEW,
            now + schedule.max_delay() + CLOCK_SKEW,
            BATCH,
        );
        due.execute(pool)
    })
    .await
}

/// Repeats an update of a batch of rows until it finds none.
async fn until_none_is_left<F>(mut update: impl FnMut() -> F) -> sqlx::Result<()>
where
    F: Future<Output = sqlx::Result<PgQueryResult>>,
{
    while update().await?.rows_affected() > 0 {}
    Ok(())
}
