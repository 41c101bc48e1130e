//! Detects missing webhooks: renders that ended according to a poll, without a webhook.
//!
//! `GET /metrics` and `renderhook check` report [`count`]. [`watch`] logs a warning once an hour, from one of all processes.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use tracing::warn;

use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database, LogEvent, Shutdown};

/// How late a webhook may arrive and still count.
pub const GRACE: TimeDelta = TimeDelta::minutes(10);
/// The period in which renders are counted.
pub const WINDOW: TimeDelta = TimeDelta::hours(24);
/// The interval between two warnings.
const WARN_INTERVAL: TimeDelta = TimeDelta::hours(1);
/// The interval between two counts of a process.
const COUNT_INTERVAL: Duration = Duration::from_mins(1);

/// Counts of renders that failed or became complete within [`WINDOW`] and at least [`GRACE`] ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingWebhooks {
    /// All of them.
    pub ended: i64,
    /// Those reported by a poll only.
    pub missing: i64,
}

impl MissingWebhooks {
    /// Whether any is missing.
    #[must_use]
    pub fn any(&self) -> bool {
        self.missing > 0
    }
}

impl fmt::Display for MissingWebhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ended, missing } = self;
        if !self.any() {
            return write!(
                f,
                "none is missing: a webhook arrived for each of the {ended} renders that ended in the last 24 hours"
            );
        }
        write!(
            f,
            "no webhook arrived for {missing} of the {ended} renders that ended in the last 24 hours, only polls reported them: "
        )?;
        f.write_str(if missing * 2 >= *ended {
            "the endpoint is probably mistyped or disabled in Developer Hub"
        } else {
            "are all events selected in Developer Hub, and does every request reach /webhook?"
        })
    }
}

/// Counts as of `now`. Canceled renders do not count, because no webhook reports them.
pub async fn count(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<MissingWebhooks> {
    sqlx::query_as!(
        MissingWebhooks,
        r#"SELECT
               count(*) AS "ended!",
               count(*) FILTER (WHERE source = 'poll' AND NOT EXISTS (
                   -- A stale delivery counts, because it did arrive. A delivery recorded before the end reported something else.
                   SELECT FROM deliveries AS d
                   WHERE d.render_id = t.render_id
                       AND d.received_at >= t.at - make_interval(secs => CASE WHEN d.outcome = 'stale' THEN $3::float8 ELSE 0 END)
                       AND d.received_at <= t.at + make_interval(secs => $3)
               )) AS "missing!"
           FROM transitions AS t
           WHERE to_status IN ('error', 'complete') AND at > $1 AND at <= $2"#,
        now - WINDOW,
        now - GRACE,
        GRACE.as_seconds_f64(),
    )
    .fetch_one(pool)
    .await
}

/// Returns `true` for one process per hour, which then logs the warning.
async fn take_hourly_turn(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<bool> {
    // A time in the future comes from a clock that was wrong.
    let taken = sqlx::query!(
        "UPDATE upstream_throttle SET missing_webhooks_logged_at = $1
         WHERE missing_webhooks_logged_at <= $2 OR missing_webhooks_logged_at > $3",
        now,
        now - WARN_INTERVAL,
        now + WARN_INTERVAL,
    );
    Ok(taken.execute(pool).await?.rows_affected() > 0)
}

/// Logs warnings while webhooks are missing, until the service stops.
pub async fn watch(database: &Database, clock: &Clock, shutdown: &Shutdown) {
    while !shutdown.is_stopping() {
        let (pool, now) = (database.pool(), clock.now());
        if let Ok(webhooks) = database.with_timeout(BACKGROUND_TIMEOUT, count(pool, now)).await
            && webhooks.any()
            && let Ok(true) = database.with_timeout(BACKGROUND_TIMEOUT, take_hourly_turn(pool, now)).await
        {
            warn!(
                event = %LogEvent::WebhooksMissing, renders.missing = webhooks.missing, renders.ended = webhooks.ended,
                "webhooks are missing: {webhooks}"
            );
        }
        shutdown.sleep(COUNT_INTERVAL).await;
    }
}
