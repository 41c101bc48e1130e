//! Which render is asked for next, and what follows from the answer: the columns `poll…`, `not_found_at` and `stalled_at` of
//! `renders`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::schedule::{Next, Schedule, Standing, Waits};
use crate::domain::{Kind, RenderId};
use crate::runtime::file_counts;
use crate::upstream::throttle;

/// How long a question may take before another process asks it again.
const CLAIM: Duration = Duration::from_mins(2);

/// A render that this process is to ask for.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) id: RenderId,
    pub(super) kind: Kind,
    /// Whether somebody waits for the answer.
    pub(super) wanted: bool,
    /// Whether it was not known when it was asked for before.
    pub(super) known_as_not_found: bool,
    /// Whether the question before this one, of whichever process, met trouble of the API.
    pub(super) after_refusals: bool,
    tries: u32,
    first_seen_at: DateTime<Utc>,
    stalled_at: Option<DateTime<Utc>>,
    polled_before: Option<DateTime<Utc>>,
    /// The claim: who settles matches it, so that what was heard in the meantime is not undone.
    until: DateTime<Utc>,
}

/// What the details call came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered {
    /// Whether the render has moved by it.
    pub(super) moved: bool,
    /// Whether Magic Hour knows the render; `None` where that was not told.
    pub(super) found: Option<bool>,
}

/// Takes the render that is due first, if there is one, nobody pauses, and `gap` has passed since the last question of any
/// process. Who somebody waits for comes first, then who was not heard of for longest.
pub(super) async fn take(
    pool: &PgPool,
    now: DateTime<Utc>,
    schedule: &Schedule,
    gap: Duration,
) -> sqlx::Result<Option<Taken>> {
    let row = sqlx::query!(
        r#"WITH turn AS MATERIALIZED (
               SELECT failures
               FROM upstream_throttle
               -- What lies further ahead than it can by this clock was written by one that is off.
               WHERE (next_call_at <= $1 OR next_call_at > $6) AND (paused_until <= $1 OR paused_until > $7)
               FOR UPDATE
           ),
           due AS (
               SELECT id, polled_at
               FROM renders
               WHERE EXISTS (SELECT FROM turn)
                   AND (NOT finished OR poll_wanted)
                   AND coalesce(poll_due_at, last_seen_at) <= $1
                   AND (poll_due_at IS NOT NULL OR last_seen_at <= $2)
                   AND coalesce(polled_at <= $3, true)
               ORDER BY poll_wanted DESC, greatest(last_seen_at, polled_at), id
               LIMIT 1
               FOR UPDATE SKIP LOCKED
           ),
           taken AS (
               UPDATE renders AS r
               SET poll_due_at = $4, polled_at = $1
               FROM due
               WHERE r.id = due.id
               RETURNING r.id, r.kind, r.poll_wanted, r.poll_due_at, r.poll_attempts, r.first_seen_at, r.stalled_at,
                   r.not_found_at, due.polled_at AS polled_before
           ),
           spent AS (
               UPDATE upstream_throttle SET next_call_at = $5 WHERE EXISTS (SELECT FROM taken)
           )
           SELECT id, kind, poll_wanted, poll_due_at AS "poll_due_at!", poll_attempts, first_seen_at, stalled_at, polled_before,
               not_found_at IS NOT NULL AS "known_as_not_found!", (SELECT failures > 0 FROM turn) AS "after_refusals!"
           FROM taken"#,
        now,
        now - schedule.after,
        now - schedule.spacing(),
        now + CLAIM,
        now + gap,
        now + gap + throttle::CLOCKS,
        now + throttle::LONGEST + throttle::CLOCKS,
    );
    let Some(row) = row.fetch_optional(pool).await? else { return Ok(None) };
    let decode = |error: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Decode(error);
    Ok(Some(Taken {
        id: row.id.parse().map_err(|error| decode(Box::new(error)))?,
        kind: row.kind.parse().map_err(|error| decode(Box::new(error)))?,
        wanted: row.poll_wanted,
        known_as_not_found: row.known_as_not_found,
        after_refusals: row.after_refusals,
        tries: row.poll_attempts.unsigned_abs(),
        first_seen_at: row.first_seen_at,
        stalled_at: row.stalled_at,
        polled_before: row.polled_before,
        until: row.poll_due_at,
    }))
}

/// Puts everything up at once that is unfinished or wanted, but for what is being asked for and what is left alone.
pub(super) async fn catch_up(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<()> {
    let put_up = sqlx::query!(
        "UPDATE renders
         SET poll_due_at = $1
         WHERE (NOT finished OR poll_wanted)
             AND coalesce(poll_due_at > $1, true)
             AND poll_due_at IS DISTINCT FROM 'infinity'
             AND (polled_at IS NULL OR poll_due_at IS DISTINCT FROM polled_at + make_interval(secs => $2))",
        now,
        CLAIM.as_secs_f64(),
    );
    put_up.execute(pool).await.map(drop)
}

/// Puts a render back that could not be asked for, as if it had not been taken.
pub(super) async fn put_back(pool: &PgPool, taken: &Taken, asked_at: DateTime<Utc>) -> sqlx::Result<()> {
    let put_back = sqlx::query!(
        "UPDATE renders SET poll_due_at = $3, polled_at = $4 WHERE id = $1 AND poll_due_at = $2",
        taken.id.as_str(),
        taken.until,
        asked_at,
        taken.polled_before,
    );
    // OK that the claim may be gone: then somebody wants to know of the render, or it was heard of.
    put_back.execute(pool).await.map(drop)
}

/// Settles a question: says when the render is asked for next, and puts the files up that waited for the answer, each with
/// the URL that it has now, fresher or not. What was heard or wanted since the question was asked stays as it is.
pub(super) async fn settle(
    pool: &PgPool,
    taken: &Taken,
    answered: Answered,
    schedule: &Schedule,
    chance: f64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let standing = Standing {
        first_seen_at: taken.first_seen_at,
        stalled_at: taken.stalled_at,
        tries: if answered.moved { 0 } else { taken.tries.saturating_add(1) },
        found: answered.found.unwrap_or(!taken.known_as_not_found),
    };
    let next = |waits| match schedule.next(waits, &standing, now, chance) {
        Next::At(at) => Some(at),
        Next::Never => None,
    };
    let settled = sqlx::query!(
        "WITH render AS (
             SELECT
                 id, NOT finished AS unfinished,
                 -- Two ends are told, and the answer is neither: it is behind.
                 status IN ('error', 'canceled') AND poll_wanted AND NOT failure_confirmed AND $6 AS undecided,
                 coalesce(status = 'complete', false) AND (
                     NOT EXISTS (SELECT FROM downloads WHERE render_id = $1)
                     OR EXISTS (SELECT FROM downloads WHERE render_id = $1 AND url IS NULL)
                 ) AS awaits_urls,
                 not_found_at, stalled_at
             FROM renders
             WHERE id = $1 AND poll_due_at = $2
             FOR UPDATE
         ),
         settled AS (
             UPDATE renders AS r
             SET poll_wanted = awaits_urls OR undecided,
                 poll_due_at = CASE
                     WHEN awaits_urls THEN coalesce($3::timestamptz, 'infinity')
                     WHEN unfinished OR undecided THEN coalesce($4::timestamptz, 'infinity')
                 END,
                 poll_attempts = $5,
                 not_found_at = mark.not_found_at,
                 stalled_at = mark.stalled_at,
                 updated_at = CASE
                     WHEN (r.not_found_at, r.stalled_at) IS DISTINCT FROM (mark.not_found_at, mark.stalled_at)
                     THEN greatest(r.updated_at, $7)
                     ELSE r.updated_at
                 END
             FROM render CROSS JOIN LATERAL (
                 SELECT
                     CASE WHEN $6 THEN NULL ELSE coalesce(render.not_found_at, $7) END AS not_found_at,
                     CASE WHEN (unfinished OR awaits_urls) AND $8 THEN coalesce(render.stalled_at, $7) END AS stalled_at
             ) AS mark
             WHERE r.id = render.id
         )
         UPDATE downloads SET due_at = $7 WHERE render_id = $1 AND $9 AND state = 'pending' AND due_at > $7",
        taken.id.as_str(),
        taken.until,
        next(Waits::ForUrls),
        next(Waits::ForTheEnd),
        i32::try_from(standing.tries).unwrap_or(i32::MAX),
        standing.found,
        now,
        Schedule::is_stalled(&standing, now),
        taken.wanted,
    );
    let mut transaction = pool.begin().await?;
    // Locked by a statement of its own: the next one then sees a file whose attempt was settled meanwhile.
    file_counts::lock(&mut transaction, &[taken.id.as_str()]).await?;
    // OK if no file waits.
    settled.execute(&mut *transaction).await?;
    transaction.commit().await
}
