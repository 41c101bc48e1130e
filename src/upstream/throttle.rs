//! How fast all processes ask Magic Hour together, and whether they ask at all: the one row of `upstream_throttle`.
//!
//! Trouble of the account or the API concerns every call: who meets it has everybody pause, and says so if nobody has. The
//! rate is spent where a question is taken (`reconcile::due`).

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tracing::{error, info, warn};

use crate::runtime::LogEvent;
use crate::runtime::{BACKGROUND, Database};
use crate::upstream::error::UpstreamError;

/// The first pause: each lasts twice as long as the one before.
const FIRST: Duration = Duration::from_secs(10);
/// The longest pause.
pub(crate) const LONGEST: Duration = Duration::from_hours(1);

/// How far the clocks of processes that ask may be apart: what lies further ahead was written by one that is off.
pub(crate) const CLOCKS: Duration = Duration::from_mins(1);

/// Pauses the asking of every process at `now`, for as long as it asked for at least, because a call of `asked_at` met trouble of the account
/// or the API; and says so, unless it has been said since a call last went well.
pub(crate) async fn pause(database: &Database, asked_at: DateTime<Utc>, now: DateTime<Utc>, failure: &UpstreamError) {
    let paused = paused(database.pool(), asked_at, now, failure.retry_after().unwrap_or_default());
    if !matches!(database.within(BACKGROUND, paused).await, Ok(Some(1))) {
        return;
    }
    let what = "asking Magic Hour pauses, and is tried again with growing gaps: no render and no file fails of it";
    let code = failure.code();
    if failure.needs_person() {
        error!(event = %LogEvent::PollRefused, error = %code, "{failure}: {what}");
    } else {
        warn!(event = %LogEvent::PollRefused, error = %code, "{failure}: {what}");
    }
}

/// A call went well: the next trouble is news again.
pub(crate) async fn well(database: &Database) {
    if let Ok(true) = database.within(BACKGROUND, resume(database.pool())).await {
        info!(event = %LogEvent::PollAnswered, "Magic Hour's API answers again: asking goes on");
    }
}

/// How often in a row trouble was found out, this time included; `None` where everybody has paused since `asked_at`.
async fn paused(
    pool: &PgPool,
    asked_at: DateTime<Utc>,
    now: DateTime<Utc>,
    at_least: Duration,
) -> sqlx::Result<Option<i32>> {
    let paused = sqlx::query_scalar!(
        "UPDATE upstream_throttle
         SET failures = failures + 1,
             paused_until = $2::timestamptz
                 + make_interval(secs => greatest(least($3 * power(2, least(failures, 16)), $4), $5::float8))
         WHERE paused_until <= $1 OR paused_until > $6
         RETURNING failures",
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
pub(crate) async fn resume(pool: &PgPool) -> sqlx::Result<bool> {
    let resumed = sqlx::query!("UPDATE upstream_throttle SET failures = 0, paused_until = 'epoch' WHERE failures > 0")
        .execute(pool)
        .await?;
    Ok(resumed.rows_affected() > 0)
}
