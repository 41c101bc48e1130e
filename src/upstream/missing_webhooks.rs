//! Detects missing webhooks: renders that ended according to a poll, without a webhook.
//!
//! `renderhook check` reports [`MissingWebhooks::count`], and `GET /metrics` [`count_missing_webhooks`].
//! [`watch_missing_webhooks`] logs a warning once an hour, from
//! one of all processes.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use tracing::warn;

use crate::domain::Status;
use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database, LogEvent, Shutdown};

/// How late a webhook may arrive and still count.
const GRACE: TimeDelta = TimeDelta::minutes(10);
/// The period in which renders are counted.
const WINDOW: TimeDelta = TimeDelta::hours(24);
/// The interval between two warnings.
const WARN_INTERVAL: TimeDelta = TimeDelta::hours(1);
/// The interval between two counts of a process.
const COUNT_INTERVAL: Duration = Duration::from_mins(1);

/// How many of the latest renders are checked for a metric.
pub const MISSING_WEBHOOKS_LIMIT: i64 = 1_000;

/// Counts of renders that failed or became complete within 24 hours and at least 10 minutes ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingWebhooks {
    /// All of them.
    pub ended: i64,
    /// Those reported by a poll only.
    pub missing: i64,
}

impl MissingWebhooks {
    /// Counts at `now`. Reads every render that ended within 24 hours.
    pub async fn count(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Self> {
        let ended = sqlx::query_scalar!(
            r#"SELECT count(*) AS "ended!" FROM transitions WHERE at > $1 AND at <= $2 AND to_status = ANY ($3)"#,
            now - WINDOW,
            now - GRACE,
            &ends() as _,
        );
        let ended = ended.fetch_one(pool).await?;
        Ok(Self { ended, missing: count_missing_webhooks(pool, now, i64::MAX).await? })
    }

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

/// The statuses that webhooks report as the end of a render. Nothing reports a cancelation.
fn ends() -> Vec<&'static str> {
    let reported = |status: &Status| match status {
        Status::Error | Status::Complete => true,
        Status::Draft | Status::Queued | Status::Rendering | Status::Canceled => false,
    };
    Status::ALL.iter().filter(|status| reported(status)).map(|status| status.as_str()).collect()
}

/// Counts only the missing ones, among the `limit` latest renders whose end a poll found.
pub async fn count_missing_webhooks(pool: &PgPool, now: DateTime<Utc>, limit: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "missing!"
           FROM (
               SELECT render_id, at
               FROM transitions
               WHERE source = 'poll' AND at > $1 AND at <= $2 AND to_status = ANY ($3)
               ORDER BY at DESC
               LIMIT $5
           ) AS t
           WHERE NOT EXISTS (
               -- A stale delivery counts, because it did arrive. A delivery recorded before the end reported something else.
               SELECT FROM deliveries AS d
               WHERE d.render_id = t.render_id
                   AND d.received_at >= t.at - make_interval(secs => CASE WHEN d.outcome = 'stale' THEN $4::float8 ELSE 0 END)
                   AND d.received_at <= t.at + make_interval(secs => $4)
           )"#,
        now - WINDOW,
        now - GRACE,
        &ends() as _,
        GRACE.as_seconds_f64(),
        limit,
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
pub async fn watch_missing_webhooks(database: &Database, clock: &Clock, shutdown: &Shutdown) {
    while !shutdown.is_stopping() {
        let (pool, now) = (database.pool(), clock.now());
        if let Ok(missing) =
            database.with_timeout(BACKGROUND_TIMEOUT, count_missing_webhooks(pool, now, MISSING_WEBHOOKS_LIMIT)).await
            && missing > 0
            && let Ok(webhooks) = database.with_timeout(BACKGROUND_TIMEOUT, MissingWebhooks::count(pool, now)).await
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
