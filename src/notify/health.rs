//! Whether the receiver accepts anything: after an hour of nothing but errors, one process logs it.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

/// How long every attempt must have failed before the log says so, and how long until it says so again.
const REPORT_AFTER: TimeDelta = TimeDelta::hours(1);

/// Records whether some of the latest attempts were accepted.
pub(super) async fn record(pool: &PgPool, now: DateTime<Utc>, is_accepting: bool) -> sqlx::Result<()> {
    let written = if is_accepting {
        sqlx::query!(
            "UPDATE notify_health SET failing_since = NULL, reported_at = NULL WHERE failing_since IS NOT NULL"
        )
    } else {
        sqlx::query!("UPDATE notify_health SET failing_since = $1 WHERE failing_since IS NULL", now)
    };
    written.execute(pool).await.map(drop)
}

/// Since when every attempt has failed, if that is to be logged now: for one process an hour.
pub(super) async fn take_turn_to_report(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Option<DateTime<Utc>>> {
    let taken = sqlx::query_scalar!(
        r#"UPDATE notify_health SET reported_at = $1
           WHERE failing_since <= $2 AND (reported_at IS NULL OR reported_at <= $2 OR reported_at > $1)
           RETURNING failing_since AS "failing_since!""#,
        now,
        now - REPORT_AFTER,
    );
    taken.fetch_optional(pool).await
}
