//! How fast all processes ask together, and whether they ask at all: the one row of `asking`. Its rate is spent in
//! `due::take`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

/// The first pause: each lasts twice as long as the one before.
const FIRST: Duration = Duration::from_secs(10);
/// The longest pause.
pub(super) const LONGEST: Duration = Duration::from_hours(1);

/// How far the clocks of processes that ask may be apart: what lies further ahead was written by one that is off.
pub(super) const CLOCKS: Duration = Duration::from_mins(1);

/// Pauses the asking at `now`, for `at_least` that long, because a question of `asked_at` met trouble of the account or the
/// API. Returns how often in a row that was found out; `None` where it has paused since that question was asked.
pub(super) async fn pause(
    pool: &PgPool,
    asked_at: DateTime<Utc>,
    now: DateTime<Utc>,
    at_least: Duration,
) -> sqlx::Result<Option<i32>> {
    let paused = sqlx::query_scalar!(
        "UPDATE asking
         SET refusals = refusals + 1,
             paused_until = $2::timestamptz
                 + make_interval(secs => greatest(least($3 * power(2, least(refusals, 16)), $4), $5::float8))
         WHERE paused_until <= $1 OR paused_until > $6
         RETURNING refusals",
        asked_at,
        now,
        FIRST.as_secs_f64(),
        LONGEST.as_secs_f64(),
        at_least.min(LONGEST).as_secs_f64(),
        now + LONGEST + CLOCKS,
    );
    paused.fetch_optional(pool).await
}

/// Ends the pause, and says whether there was trouble.
pub(super) async fn resume(pool: &PgPool) -> sqlx::Result<bool> {
    let resumed =
        sqlx::query!("UPDATE asking SET refusals = 0, paused_until = 'epoch' WHERE refusals > 0").execute(pool).await?;
    Ok(resumed.rows_affected() > 0)
}
