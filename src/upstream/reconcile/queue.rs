//! The queue of renders to poll: the columns `poll_…`, `not_found_at`, and `stalled_at` of `renders`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgQueryResult;
use sqlx::{PgPool, PgTransaction};

use super::schedule::{NextPoll, Schedule};
use super::settlement::{PollOutcome, PollSettlement, PolledRender};
use crate::domain::{FileCounts, Kind, RenderId, Status};
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
    until: DateTime<Utc>,
}

/// Claims the next render to poll: first those with a requested poll, then the one without webhook or poll for the longest
/// time. Renders of paused accounts are left out. Returns `None` if none is due or the throttle does not allow a call.
pub(super) async fn claim(
    pool: &PgPool,
    finder: &ProjectFinder,
    schedule: &Schedule,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<PollClaim>> {
    let mut transaction = pool.begin().await?;
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

/// Settles a poll: schedules the next one, and makes downloads due that waited for it. If an event or a request has changed
/// the schedule since the claim, that change stays.
pub(super) async fn settle(
    pool: &PgPool,
    claim: &PollClaim,
    outcome: PollOutcome,
    schedule: &Schedule,
    jitter: f64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let mut transaction = pool.begin().await?;
    // If the claim has expired, another process settles.
    let Some(claimed) = lock(&mut transaction, claim).await? else { return Ok(()) };
    let release_files = if claimed.is_unchanged {
        let settlement = claimed.render.settle(outcome, schedule, now, jitter);
        write(&mut transaction, claim, &claimed.render, &settlement, now).await?;
        settlement.release_files
    } else {
        release(&mut transaction, claim).await?;
        claim.requested && !matches!(outcome, PollOutcome::Failed { .. })
    };
    if release_files {
        make_files_due(&mut transaction, claim, now).await?;
    }
    transaction.commit().await
}

struct ClaimedRender {
    render: PolledRender,
    /// Whether its schedule has not changed since the claim.
    is_unchanged: bool,
}

async fn lock(transaction: &mut PgTransaction<'_>, claim: &PollClaim) -> sqlx::Result<Option<ClaimedRender>> {
    let row = sqlx::query!(
        r#"SELECT
               kind, status, files_total, image_count, shortage_confirmed, poll_requested, failure_confirmed, poll_attempts, first_seen_at, not_found_at, stalled_at,
               coalesce(poll_due_at = $2, false) AS "is_unchanged!",
               EXISTS (SELECT FROM downloads WHERE render_id = $1 AND url IS NULL) AS "has_file_without_url!"
           FROM renders
           WHERE id = $1 AND poll_claimed_until = $2
           FOR UPDATE"#,
        claim.id.as_str(),
        claim.until,
    );
    let Some(row) = row.fetch_optional(&mut **transaction).await? else { return Ok(None) };
    let status = row.status.as_deref().map(str::parse::<Status>).transpose();
    let kind = row.kind.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    let files = FileCounts { total: row.files_total, ..FileCounts::default() }.with_announced(kind, row.image_count);
    let has_shortage = files.missing > 0 && !row.shortage_confirmed;
    Ok(Some(ClaimedRender {
        render: PolledRender {
            status: status.map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            requested: row.poll_requested,
            failure_confirmed: row.failure_confirmed,
            lacks_urls: files.total == 0 || row.has_file_without_url || has_shortage,
            attempts: row.poll_attempts.unsigned_abs(),
            first_seen_at: row.first_seen_at,
            not_found_at: row.not_found_at,
            stalled_at: row.stalled_at,
        },
        is_unchanged: row.is_unchanged,
    }))
}

async fn write(
    transaction: &mut PgTransaction<'_>,
    claim: &PollClaim,
    before: &PolledRender,
    after: &PollSettlement,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (due_at, never) = match after.next {
        None => (None, false),
        Some(NextPoll::At(at)) => (Some(at), false),
        Some(NextPoll::Never) => (None, true),
    };
    let is_visible_change = (before.not_found_at, before.stalled_at) != (after.not_found_at, after.stalled_at);
    let written = sqlx::query!(
        "UPDATE renders
         SET poll_claimed_until = NULL,
             poll_due_at = CASE WHEN $3 THEN 'infinity' ELSE $2::timestamptz END,
             poll_requested = $4, poll_attempts = $5, not_found_at = $6, stalled_at = $7,
             updated_at = greatest(updated_at, $8)
         WHERE id = $1",
        claim.id.as_str(),
        due_at,
        never,
        after.requested,
        i32::try_from(after.attempts).unwrap_or(i32::MAX),
        after.not_found_at,
        after.stalled_at,
        is_visible_change.then_some(now),
    );
    let written = written.execute(&mut **transaction).await?;
    debug_assert_eq!(written.rows_affected(), 1, "the row is locked");
    Ok(())
}

async fn release(transaction: &mut PgTransaction<'_>, claim: &PollClaim) -> sqlx::Result<()> {
    let released = sqlx::query!("UPDATE renders SET poll_claimed_until = NULL WHERE id = $1", claim.id.as_str());
    let released = released.execute(&mut **transaction).await?;
    debug_assert_eq!(released.rows_affected(), 1, "the row is locked");
    Ok(())
}

/// Makes a render's downloads due that waited for the answer, if there are any.
async fn make_files_due(
    transaction: &mut PgTransaction<'_>,
    claim: &PollClaim,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let released = sqlx::query!(
        "UPDATE downloads SET due_at = $2 WHERE render_id = $1 AND state = 'pending' AND due_at > $2",
        claim.id.as_str(),
        now,
    );
    released.execute(&mut **transaction).await.map(drop)
}
