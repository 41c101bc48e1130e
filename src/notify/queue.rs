//! The queue: which notifications are due, who posts them, and how their attempts ended.
//!
//! Guaranteed: of a render, only the first pending notification is claimed, so they are posted one at a time and in order;
//! a claim holds until its lease ends, and only the claim that holds settles.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::client::PostError;
use super::schedule::{MAX_GAP, PostOutcome};
use crate::domain::NotificationState;
use crate::runtime::{Tallies, begin};

/// How long a notification waits behind one that is being posted, if settling that one does not wake it.
const BEHIND_LEASED: TimeDelta = TimeDelta::seconds(1);
/// How much longer than the request a lease lasts.
const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(30);

/// A notification to post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimedNotification {
    pub(super) position: i64,
    pub(super) id: Uuid,
    pub(super) render_id: String,
    pub(super) r#type: String,
    /// When it was written.
    pub(super) at: DateTime<Utc>,
    /// Which attempt this is, from 1.
    pub(super) attempt: i32,
    /// Since when it is posted.
    pub(super) since: DateTime<Utc>,
    /// The claim.
    pub(super) lease: Uuid,
}

/// What a look at the queue found.
#[derive(Debug, Default)]
pub(super) struct ClaimedBatch {
    pub(super) claimed: Vec<ClaimedNotification>,
    /// Whether as many rows were due as were asked for, so that more may be.
    pub(super) may_be_more: bool,
}

/// A row that is due, and the first pending one of its render if that is an earlier one.
struct Due {
    position: i64,
    id: Uuid,
    render_id: String,
    r#type: String,
    at: DateTime<Utc>,
    attempts: i32,
    since: DateTime<Utc>,
    first_due_at: Option<DateTime<Utc>>,
}

/// When a notification may be claimed that has to wait for an earlier one of its render.
fn behind(first_due_at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    // The earlier one is being posted, or about to be claimed, or waits for its next attempt.
    if first_due_at <= now { now + BEHIND_LEASED } else { first_due_at }
}

/// Claims up to `limit` notifications that are due, for requests that take at most `timeout`.
pub(super) async fn claim(
    pool: &PgPool,
    now: DateTime<Utc>,
    timeout: Duration,
    limit: i64,
) -> sqlx::Result<ClaimedBatch> {
    let mut transaction = begin(pool, "BEGIN").await?;
    let due = due(&mut transaction, now, limit).await?;
    if due.is_empty() {
        return Ok(ClaimedBatch::default());
    }
    let lease_ends = now + TimeDelta::from_std(timeout).unwrap_or(MAX_GAP) + LEASE_MARGIN;
    let lease = Uuid::new_v4();
    let next = |row: &Due| row.first_due_at.map_or(lease_ends, |first| behind(first, now));
    let written = sqlx::query!(
        "UPDATE notifications AS n
         SET due_at = next.due_at, lease = next.lease, attempts = n.attempts + next.attempts
         FROM unnest($1::bigint[], $2::timestamptz[], $3::uuid[], $4::int[]) AS next (position, due_at, lease, attempts)
         WHERE n.position = next.position",
        &due.iter().map(|row| row.position).collect::<Vec<_>>(),
        &due.iter().map(next).collect::<Vec<_>>(),
        &due.iter().map(|row| row.first_due_at.is_none().then_some(lease)).collect::<Vec<_>>() as _,
        &due.iter().map(|row| i32::from(row.first_due_at.is_none())).collect::<Vec<_>>(),
    );
    written.execute(&mut *transaction).await?;
    transaction.commit().await?;
    let may_be_more = i64::try_from(due.len()).is_ok_and(|count| count == limit);
    let claimed = due.into_iter().filter(|row| row.first_due_at.is_none()).map(|row| row.claimed(lease)).collect();
    Ok(ClaimedBatch { claimed, may_be_more })
}

/// Locks what is due. A time further ahead than any gap was written by a clock that was wrong, so it is due as well.
async fn due(transaction: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Due>> {
    let rows = sqlx::query_as!(
        Due,
        r#"WITH due AS MATERIALIZED (
               SELECT * FROM notifications
               WHERE due_at IS NOT NULL AND (due_at <= $1 OR due_at > $2)
               ORDER BY due_at, position
               LIMIT $3
               FOR UPDATE SKIP LOCKED
           )
           SELECT due.position AS "position!", due.id AS "id!", due.render_id AS "render_id!", due.type AS "type!",
               due.at AS "at!", due.attempts AS "attempts!", due.pending_since AS "since!",
               first.due_at AS "first_due_at?"
           FROM due LEFT JOIN LATERAL (
               SELECT earlier.due_at FROM notifications AS earlier
               WHERE earlier.render_id = due.render_id AND earlier.position < due.position AND earlier.state = 'pending'
               ORDER BY earlier.position
               LIMIT 1
           ) AS first ON true
           ORDER BY due.position"#,
        now,
        now + MAX_GAP * 2,
        limit,
    );
    rows.fetch_all(transaction).await
}

impl Due {
    fn claimed(self, lease: Uuid) -> ClaimedNotification {
        ClaimedNotification {
            position: self.position,
            id: self.id,
            render_id: self.render_id,
            r#type: self.r#type,
            at: self.at,
            attempt: self.attempts.saturating_add(1),
            since: self.since,
            lease,
        }
    }
}

/// When the next notification is due, if any is pending.
pub(super) async fn next_due(pool: &PgPool) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!("SELECT min(due_at) FROM notifications WHERE due_at IS NOT NULL").fetch_one(pool).await
}

/// Since when the notification waits that has waited longest.
pub async fn oldest_pending(pool: &PgPool) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!("SELECT min(pending_since) FROM notifications WHERE state = 'pending'").fetch_one(pool).await
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) struct EndedPost {
    pub(super) claimed: ClaimedNotification,
    /// Whether there was a message to post. If not, it says nothing about the receiver.
    pub(super) was_posted: bool,
    pub(super) outcome: PostOutcome,
    /// Why it failed, if it did.
    pub(super) error: Option<PostError>,
}

impl EndedPost {
    fn state(&self) -> NotificationState {
        match self.outcome {
            PostOutcome::Delivered => NotificationState::Delivered,
            PostOutcome::Retry { .. } => NotificationState::Pending,
            PostOutcome::Failed => NotificationState::Failed,
        }
    }

    /// When the next attempt is due, if there is one.
    fn due_at(&self) -> Option<DateTime<Utc>> {
        match self.outcome {
            PostOutcome::Retry { at } => Some(at),
            PostOutcome::Delivered | PostOutcome::Failed => None,
        }
    }
}

/// Settles attempts, in one transaction. Those whose lease was lost change nothing.
pub(super) async fn settle(pool: &PgPool, now: DateTime<Utc>, attempts: &[EndedPost]) -> sqlx::Result<()> {
    let mut transaction = begin(pool, "BEGIN").await?;
    let written = sqlx::query_scalar!(
        "UPDATE notifications AS n
         SET state = ended.state, due_at = ended.due_at, delivered_at = ended.delivered_at, error = ended.error, lease = NULL
         FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[])
             AS ended (position, lease, state, due_at, delivered_at, error)
         WHERE n.position = ended.position AND n.lease = ended.lease
         RETURNING n.state AS \"state!\"",
        &attempts.iter().map(|it| it.claimed.position).collect::<Vec<_>>(),
        &attempts.iter().map(|it| it.claimed.lease).collect::<Vec<_>>(),
        &attempts.iter().map(|it| it.state().as_str()).collect::<Vec<_>>() as _,
        &attempts.iter().map(EndedPost::due_at).collect::<Vec<_>>() as _,
        &attempts.iter().map(|it| (it.outcome == PostOutcome::Delivered).then_some(now)).collect::<Vec<_>>() as _,
        &attempts.iter().map(|it| it.error.as_ref().map(ToString::to_string)).collect::<Vec<_>>() as _,
    );
    let mut tallies = Tallies::default();
    for state in written.fetch_all(&mut *transaction).await? {
        tallies.add_notification(Some(NotificationState::Pending), state.parse().ok());
    }
    // What waited behind them is due now.
    let renders = attempts.iter().filter(|it| it.due_at().is_none()).map(|it| it.claimed.render_id.as_str());
    let woken = sqlx::query!(
        "UPDATE notifications SET due_at = $1
         WHERE render_id = ANY ($2) AND state = 'pending' AND lease IS NULL AND due_at > $1",
        now,
        &renders.collect::<Vec<_>>() as _,
    );
    woken.execute(&mut *transaction).await?;
    tallies.write(&mut transaction).await?;
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_behind_an_earlier_one_is_due_when_that_one_is_or_soon() {
        let now = DateTime::UNIX_EPOCH;
        let later = now + TimeDelta::hours(2);
        assert_eq!(behind(later, now), later);
        assert_eq!(behind(now, now), now + BEHIND_LEASED);
    }
}
