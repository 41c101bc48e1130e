//! Sending notifications again, when a person or the application asks for it.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::domain::{NotificationId, NotificationState, NotificationType, RenderId};
use crate::feed::PostedTypes;
use crate::runtime::{BACKGROUND_TIMEOUT, Database, DatabaseError, Tallies, Wakeups, begin};

/// How many notifications one statement reads or writes.
const CHUNK: i64 = 1_000;

/// Which notifications are sent again. A notification must match every field that is set.
#[derive(Debug, Clone, Default)]
pub struct ResendFilter {
    /// Those about this render.
    pub render: Option<RenderId>,
    /// Those written since then.
    pub since: Option<DateTime<Utc>>,
    /// Only those that have failed.
    pub only_failed: bool,
    /// The types that are posted.
    pub posted: PostedTypes,
}

/// A notification that is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resent {
    position: i64,
    /// The `webhook-id`, which stays the same.
    pub id: NotificationId,
    /// The render that it is about.
    pub render_id: String,
    /// Its type.
    pub r#type: String,
}

/// Passes every notification that [`resend`] would send again to `each`.
pub async fn preview(
    database: &Database,
    filter: &ResendFilter,
    mut each: impl FnMut(&Resent),
) -> Result<(), DatabaseError> {
    let mut after = 0;
    loop {
        let found = database.with_timeout(BACKGROUND_TIMEOUT, find(database.pool(), filter, after)).await?;
        found.iter().for_each(&mut each);
        let Some(last) = found.last() else { return Ok(()) };
        after = last.position;
    }
}

/// Makes notifications due now, with all their attempts and their whole `NOTIFY_MAX_AGE`, and passes each to `each`.
pub async fn resend(
    database: &Database,
    filter: &ResendFilter,
    now: DateTime<Utc>,
    mut each: impl FnMut(&Resent),
) -> Result<(), DatabaseError> {
    let mut after = 0;
    loop {
        let found = database.with_timeout(BACKGROUND_TIMEOUT, find(database.pool(), filter, after)).await?;
        let Some(last) = found.last() else { return Ok(()) };
        after = last.position;
        let positions: Vec<_> = found.iter().map(|it| it.position).collect();
        let queued = || queue(database.pool(), &positions, now);
        database.with_timeout_and_retry(BACKGROUND_TIMEOUT, queued).await?;
        found.iter().for_each(&mut each);
    }
}

struct ResentRow {
    position: i64,
    id: Uuid,
    render_id: String,
    r#type: String,
}

async fn find(pool: &PgPool, filter: &ResendFilter, after: i64) -> sqlx::Result<Vec<Resent>> {
    let types: Vec<_> = NotificationType::ALL.into_iter().filter(|it| filter.posted.contains(*it)).collect();
    let rows = sqlx::query_as!(
        ResentRow,
        "SELECT position, id, render_id, type FROM notifications
         WHERE position > $1 AND type = ANY ($2) AND ($3::text IS NULL OR render_id = $3)
             AND ($4::timestamptz IS NULL OR at >= $4) AND (NOT $5 OR state IS NOT DISTINCT FROM 'failed')
         ORDER BY position
         LIMIT $6",
        after,
        &types.into_iter().map(NotificationType::as_str).collect::<Vec<_>>() as _,
        filter.render.as_ref().map(RenderId::as_str),
        filter.since,
        filter.only_failed,
        CHUNK,
    );
    let resent = |row: ResentRow| Resent {
        position: row.position,
        id: NotificationId::new(row.id),
        render_id: row.render_id,
        r#type: row.r#type,
    };
    Ok(rows.fetch_all(pool).await?.into_iter().map(resent).collect())
}

async fn queue(pool: &PgPool, positions: &[i64], now: DateTime<Utc>) -> sqlx::Result<()> {
    let mut transaction = begin(pool, "BEGIN").await?;
    let before = sqlx::query_scalar!(
        "SELECT state FROM notifications WHERE position = ANY ($1) ORDER BY position FOR UPDATE",
        positions,
    );
    let mut tallies = Tallies::default();
    for state in before.fetch_all(&mut *transaction).await? {
        let before = state.and_then(|state| state.parse().ok());
        tallies.add_notification(before, Some(NotificationState::Pending));
    }
    let queued = sqlx::query!(
        "UPDATE notifications
         SET state = 'pending', pending_since = $2, attempts = 0, due_at = $2, lease = NULL, delivered_at = NULL,
             error = NULL
         WHERE position = ANY ($1)",
        positions,
        now,
    );
    queued.execute(&mut *transaction).await?;
    sqlx::query!("SELECT pg_notify($1, '')", Wakeups::FEED).execute(&mut *transaction).await?;
    tallies.write(&mut transaction).await?;
    transaction.commit().await
}
