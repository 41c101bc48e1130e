//! Whether webhooks come at all: what polls find is what webhooks should have told.
//!
//! [`look`] counts the renders that a poll found to have ended and about which no webhook came within [`WITHIN`]: it is what
//! `GET /metrics` and `renderhook check` tell. [`watch`] says it aloud once an hour, from one of all processes.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use tracing::warn;

use crate::runtime::Clock;
use crate::runtime::LogEvent;
use crate::runtime::Shutdown;
use crate::runtime::{BACKGROUND, Database};

/// How late a webhook may be that still counts as having come.
pub const WITHIN: TimeDelta = TimeDelta::minutes(10);
/// How far back it is looked.
pub const LATELY: TimeDelta = TimeDelta::hours(24);
/// How often it is said.
const SAID_EVERY: TimeDelta = TimeDelta::hours(1);
/// How often it is looked at.
const EVERY: Duration = Duration::from_mins(1);

/// Of the renders that failed or became complete in the last 24 hours, and long enough ago for a webhook to have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// How many ended.
    pub ended: i64,
    /// Of how many a poll found that out, and no webhook told.
    pub untold: i64,
}

impl Silence {
    /// Whether webhooks are missing.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.untold > 0
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ended, untold } = self;
        if *untold == 0 {
            return write!(f, "none is missing: of {ended} renders that ended in the last 24 hours every webhook came");
        }
        write!(
            f,
            "of {untold} of the {ended} renders that ended in the last 24 hours only polls told, and no webhook came: "
        )?;
        f.write_str(if untold * 2 >= *ended {
            "the endpoint is probably mistyped or disabled in Developer Hub"
        } else {
            "is every event ticked in Developer Hub, and does every request get through to /webhook?"
        })
    }
}

/// Counts. A cancelation is not among it, because no webhook tells it.
pub async fn look(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Silence> {
    sqlx::query_as!(
        Silence,
        r#"SELECT
               count(*) AS "ended!",
               count(*) FILTER (WHERE source = 'poll' AND NOT EXISTS (
                   -- A stale delivery is one that came. What came before and was believed told something else.
                   SELECT FROM deliveries AS d
                   WHERE d.render_id = t.render_id
                       AND d.received_at >= t.at - make_interval(secs => CASE WHEN d.outcome = 'stale' THEN $3::float8 ELSE 0 END)
                       AND d.received_at <= t.at + make_interval(secs => $3)
               )) AS "untold!"
           FROM transitions AS t
           WHERE to_status IN ('error', 'complete') AND at > $1 AND at <= $2"#,
        now - LATELY,
        now - WITHIN,
        WITHIN.as_seconds_f64(),
    )
    .fetch_one(pool)
    .await
}

/// Whether nobody has said it within the hour; from now on somebody has.
async fn is_to_be_said(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let said = sqlx::query!(
        "UPDATE upstream_throttle SET missing_webhooks_logged_at = $1 WHERE missing_webhooks_logged_at <= $2",
        now,
        now - SAID_EVERY
    );
    Ok(said.execute(pool).await?.rows_affected() > 0)
}

/// Says it aloud, until it is time to stop.
pub async fn watch(database: &Database, clock: &Clock, shutdown: &Shutdown) {
    while !shutdown.is_stopping() {
        let (pool, now) = (database.pool(), clock.now());
        if let Ok(silence) = database.within(BACKGROUND, look(pool, now)).await
            && silence.is_told()
            && let Ok(true) = database.within(BACKGROUND, is_to_be_said(pool, now)).await
        {
            warn!(
                event = %LogEvent::PollAnswered, error = "webhooks_missing",
                renders.untold = silence.untold, renders.ended = silence.ended, "webhooks are missing: {silence}"
            );
        }
        tokio::select! {
            () = shutdown.stopping() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
