//! How much time is left: a file whose URL expires before it is stored is lost if there is no API key for fresh URLs.
//!
//! [`read`] is what `GET /metrics` reports. [`watch`] logs at `error` while a file that does not arrive has less than
//! [`ALARM`] left.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tracing::error;

use crate::runtime::Clock;
use crate::runtime::LogEvent;
use crate::runtime::Shutdown;
use crate::runtime::{BACKGROUND_TIMEOUT, Database};

/// A file with less time left than this, whose attempts fail or which no worker has claimed, needs a person.
pub const ALARM: Duration = Duration::from_hours(2);
/// How long a file may be due before it counts as unclaimed.
const UNCLAIMED: Duration = Duration::from_mins(5);
/// How often it is checked and logged.
const INTERVAL: Duration = Duration::from_mins(10);

/// What is urgent about the downloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// How many files are being downloaded.
    pub downloading: i64,
    /// When the first URL expires whose file is not stored yet.
    pub first_expires_at: Option<DateTime<Utc>>,
    /// How many files need a person: less than [`ALARM`] left, and failing or unclaimed.
    pub endangered: i64,
    /// The render of the most urgent of those.
    pub most_urgent: Option<String>,
    /// When the URL of that one expires, or expired.
    pub most_urgent_expires_at: Option<DateTime<Utc>>,
}

/// Reads the backlog. Takes as long as there are files about to be lost; how many wait or are stored does not matter.
pub async fn read(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Backlog> {
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
               (SELECT min(expires_at) FROM downloads WHERE due_at IS NOT NULL) AS first_expires_at,
               (SELECT count(*) FROM endangered) AS "endangered!",
               urgent.render_id AS "most_urgent?",
               urgent.expires_at AS "most_urgent_expires_at?"
           FROM (VALUES (true)) AS always
               LEFT JOIN (SELECT * FROM endangered ORDER BY expires_at, render_id LIMIT 1) AS urgent ON true"#,
        now + ALARM,
        now - UNCLAIMED,
    )
    .fetch_one(pool)
    .await
}

/// Logs files that are about to be lost, until the service stops.
pub async fn watch(database: &Database, clock: &Clock, shutdown: &Shutdown) {
    while !shutdown.is_stopping() {
        let now = clock.now();
        if let Ok(backlog) = database.with_timeout(BACKGROUND_TIMEOUT, read(database.pool(), now)).await
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
