//! How long there is left: files whose URLs die before they are stored are lost to whoever has no key for fresh ones.
//!
//! [`look`] is what `GET /metrics` tells; [`watch`] says it aloud, at `error`, while a file that does not come has
//! less than [`ALARM`] left.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tracing::error;

use crate::runtime::Clock;
use crate::runtime::LogEvent;
use crate::runtime::Shutdown;
use crate::runtime::{BACKGROUND, Database};

/// A file with less time left than this, that fails or lies untouched, needs a person.
pub const ALARM: Duration = Duration::from_hours(2);
/// How long a file may be due without anybody taking it up before it counts as untouched.
const UNTOUCHED: Duration = Duration::from_mins(5);
/// How often it is looked at, and how often it is said.
const EVERY: Duration = Duration::from_mins(10);

/// The downloads that are on their way, as numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// How many downloads wait.
    pub pending: i64,
    /// How many are being downloaded.
    pub downloading: i64,
    /// How many have failed.
    pub failed: i64,
    /// When the first URL dies whose file is not stored yet.
    pub first_expires_at: Option<DateTime<Utc>>,
    /// How many files need a person: less than [`ALARM`] left, and failing or untouched.
    pub endangered: i64,
    /// The render of the most urgent of those.
    pub most_urgent: Option<String>,
    /// When the URL of that one dies, or died.
    pub most_urgent_expires_at: Option<DateTime<Utc>>,
}

/// Looks at the queue.
pub async fn look(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Backlog> {
    sqlx::query_as!(
        Backlog,
        r#"WITH waiting AS (
               SELECT render_id, index, state, expires_at,
                   expires_at < $1 AND state = 'pending'
                       AND (error_code IS NOT NULL OR due_at < $2) AS endangered
               FROM downloads
               WHERE due_at IS NOT NULL
           )
           SELECT
               count(*) FILTER (WHERE state = 'pending') AS "pending!",
               count(*) FILTER (WHERE state = 'downloading') AS "downloading!",
               (SELECT count(*) FROM downloads WHERE state = 'failed') AS "failed!",
               min(expires_at) AS first_expires_at,
               count(*) FILTER (WHERE endangered) AS "endangered!",
               (array_agg(render_id ORDER BY expires_at, render_id) FILTER (WHERE endangered))[1] AS most_urgent,
               min(expires_at) FILTER (WHERE endangered) AS most_urgent_expires_at
           FROM waiting"#,
        now + ALARM,
        now - UNTOUCHED,
    )
    .fetch_one(pool)
    .await
}

/// Says it aloud, until it is time to stop.
pub async fn watch(database: &Database, clock: &Clock, shutdown: &Shutdown) {
    while !shutdown.is_stopping() {
        let now = clock.now();
        if let Ok(outlook) = database.within(BACKGROUND, look(database.pool(), now)).await
            && outlook.endangered > 0
        {
            error!(
                event = %LogEvent::DownloadRetried,
                error = "about_to_be_lost",
                downloads.endangered = outlook.endangered,
                render.id = outlook.most_urgent.unwrap_or_default(),
                time_left_s = outlook.most_urgent_expires_at.map(|expires_at| (expires_at - now).num_seconds()),
                "files are about to be lost: their URLs die within two hours or are dead, and nothing works; see the errors \
                 of the most urgent one under /renders/{{id}}, or set MAGIC_HOUR_API_KEY to get fresh URLs"
            );
        }
        tokio::select! {
            () = shutdown.stopping() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
