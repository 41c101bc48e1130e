//! Files that may be lost: without an API key for fresh URLs, a file must be stored before its URL expires.
//!
//! `GET /metrics` reports [`Backlog::read`]. [`watch_backlog`] logs an error while a failing or unclaimed file has less than
//! two hours left.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tracing::error;

use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database, LogEvent, Shutdown};

/// A failing or unclaimed file with less time left than this requires a person.
const ALARM: Duration = Duration::from_hours(2);
/// How long a file may be due before it counts as unclaimed.
const UNCLAIMED: Duration = Duration::from_mins(5);
/// The interval between checks.
const INTERVAL: Duration = Duration::from_mins(10);

/// The state of downloads that are not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// The number of files being downloaded.
    pub downloading: i64,
    /// When the first URL of a file that is not stored expires.
    pub first_expires_at: Option<DateTime<Utc>>,
    /// When that URL was observed. Of the files that are not stored, this one has waited longest, unless it got a fresh URL.
    pub oldest_observed_at: Option<DateTime<Utc>>,
    /// The number of failing or unclaimed files with less than two hours left.
    pub endangered: i64,
    /// The render of the most urgent of those.
    pub most_urgent: Option<String>,
    /// When its URL expires or expired.
    pub most_urgent_expires_at: Option<DateTime<Utc>>,
}

impl Backlog {
    /// Reads the backlog. Takes as long as there are files about to be lost; how many wait or are stored does not matter.
    pub async fn read(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Self> {
        sqlx::query_as!(
            Backlog,
            r#"WITH endangered AS MATERIALIZED (
                   SELECT render_id, expires_at
                   FROM downloads
                   WHERE due_at IS NOT NULL AND expires_at < $1 AND state = 'pending'
                       AND (error_code IS NOT NULL OR due_at < $2)
               )
               SELECT
                   (SELECT count(*) FROM downloads WHERE state = 'downloading') AS "downloading!",
                   first.expires_at AS "first_expires_at?",
                   first.url_observed_at AS "oldest_observed_at?",
                   (SELECT count(*) FROM endangered) AS "endangered!",
                   urgent.render_id AS "most_urgent?",
                   urgent.expires_at AS "most_urgent_expires_at?"
               FROM (VALUES (true)) AS always
                   LEFT JOIN (
                       SELECT expires_at, url_observed_at FROM downloads WHERE due_at IS NOT NULL
                       ORDER BY expires_at LIMIT 1
                   ) AS first ON true
                   LEFT JOIN (SELECT * FROM endangered ORDER BY expires_at, render_id LIMIT 1) AS urgent ON true"#,
            now + ALARM,
            now - UNCLAIMED,
        )
        .fetch_one(pool)
        .await
    }
}

/// Logs files that are about to be lost, until the service stops.
pub async fn watch_backlog(database: &Database, clock: &Clock, shutdown: &Shutdown) {
    while !shutdown.is_stopping() {
        let now = clock.now();
        if let Ok(backlog) = database.with_timeout(BACKGROUND_TIMEOUT, Backlog::read(database.pool(), now)).await
            && backlog.endangered > 0
        {
            error!(
                event = %LogEvent::DownloadEndangered,
                downloads.endangered = backlog.endangered,
                render.id = backlog.most_urgent.unwrap_or_default(),
                time_left_s = backlog.most_urgent_expires_at.map(|expires_at| (expires_at - now).num_seconds()),
                "files are about to be lost: their URLs have expired or expire within two hours, and every attempt fails; \
                 see the errors of the most urgent one at /renders/{{id}}, or set MAGIC_HOUR_API_KEY to get fresh URLs"
            );
        }
        tokio::select! {
            () = shutdown.wait_for_stop() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}
