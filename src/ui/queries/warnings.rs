//! What else may be wrong: deliveries that were not used, notifications that are not accepted, renders that are unknown to
//! Magic Hour or stalled, and calls that are paused.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::troubled_downloads::COUNT_LIMIT;

/// Deliveries older than this do not count.
const WINDOW: TimeDelta = TimeDelta::hours(24);

/// Notifications that the application has not accepted, with one error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ui) struct NotificationTrouble {
    pub(in crate::ui) state: String,
    pub(in crate::ui) error: String,
    pub(in crate::ui) count: i64,
    pub(in crate::ui) oldest_at: DateTime<Utc>,
    pub(in crate::ui) next_attempt_at: Option<DateTime<Utc>>,
    /// The render of one of them.
    pub(in crate::ui) render_id: String,
}

/// Deliveries of the last day with one outcome that changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ui) struct UnusedDeliveries {
    pub(in crate::ui) outcome: String,
    pub(in crate::ui) count: i64,
    pub(in crate::ui) newest_at: DateTime<Utc>,
}

/// What is not about downloads.
#[derive(Debug, Clone)]
pub(in crate::ui) struct ServiceWarnings {
    pub(in crate::ui) notifications: Vec<NotificationTrouble>,
    pub(in crate::ui) deliveries: Vec<UnusedDeliveries>,
    /// Unfinished renders that Magic Hour does not know, and those that take too long: some ids of each.
    pub(in crate::ui) not_found: Vec<String>,
    pub(in crate::ui) stalled: Vec<String>,
    /// Until when calls of Magic Hour's API are paused, if they are.
    pub(in crate::ui) paused_until: Option<DateTime<Utc>>,
}

pub(in crate::ui) async fn service_warnings(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<ServiceWarnings> {
    let paused = sqlx::query_scalar!(
        r#"SELECT greatest(paused_until, retry_after_until) AS "until!" FROM upstream_accounts
           WHERE greatest(paused_until, retry_after_until) > $1
           ORDER BY 1 DESC LIMIT 1"#,
        now
    );
    let deliveries = sqlx::query_as!(
        UnusedDeliveries,
        r#"SELECT outcome, count(*) AS "count!", max(received_at) AS "newest_at!" FROM deliveries
           WHERE outcome IN ('unknown', 'unreadable', 'stale') AND received_at > $1
           GROUP BY outcome ORDER BY outcome"#,
        now - WINDOW,
    );
    let (not_found, stalled) = unknown_and_stalled(pool).await?;
    Ok(ServiceWarnings {
        notifications: notifications(pool).await?,
        deliveries: deliveries.fetch_all(pool).await?,
        not_found,
        stalled,
        paused_until: paused.fetch_optional(pool).await?,
    })
}

async fn notifications(pool: &PgPool) -> sqlx::Result<Vec<NotificationTrouble>> {
    let rows = sqlx::query_as!(
        NotificationTrouble,
        r#"SELECT state AS "state!", error AS "error!", count(*) AS "count!", min(at) AS "oldest_at!",
               min(due_at) AS next_attempt_at, max(render_id) AS "render_id!"
           FROM (
               SELECT state, error, at, due_at, render_id FROM notifications
               WHERE error IS NOT NULL AND state IN ('pending', 'failed')
               ORDER BY position DESC LIMIT $1
           ) AS newest
           GROUP BY state, error
           ORDER BY state, count(*) DESC
           LIMIT 50"#,
        COUNT_LIMIT,
    );
    rows.fetch_all(pool).await
}

/// Ids of renders that are not known to Magic Hour, and of those that take too long.
async fn unknown_and_stalled(pool: &PgPool) -> sqlx::Result<(Vec<String>, Vec<String>)> {
    let rows = sqlx::query!(
        r#"SELECT id, not_found_at IS NOT NULL AS "is_not_found!" FROM renders
           WHERE NOT finished AND (not_found_at IS NOT NULL OR stalled_at IS NOT NULL)
           ORDER BY id LIMIT 1000"#
    );
    let rows = rows.fetch_all(pool).await?;
    let (not_found, stalled): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.is_not_found);
    let ids = |rows: Vec<_>, id: fn(_) -> String| rows.into_iter().map(id).collect();
    Ok((ids(not_found, |row| row.id), ids(stalled, |row| row.id)))
}
