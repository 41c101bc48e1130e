//! Deliveries that are kept and not believed, or not yet.
//!
//! [`unreadable`] and [`stale`] keep what was authentic and told nothing. What could not be read, or was not known, is
//! found again by [`find`]; a later version makes a [`Observation`](super::Observation) of it. What was stale never becomes one: the
//! render that it names is put up for a poll instead.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::domain::Kind;
use crate::domain::{Event, Unreadable};
use crate::intake::signature::{Stale, Verified};

/// A delivery that was verified when it came, and could not be read then or was not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub(super) id: i64,
    pub(super) sent_at: Option<DateTime<Utc>>,
    pub(super) received_at: DateTime<Utc>,
    pub(super) lag_ms: Option<i64>,
    pub(super) body: Bytes,
}

impl Kept {
    /// Its number among the deliveries: a greater one came later.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// When it came.
    #[must_use]
    pub fn received_at(&self) -> DateTime<Utc> {
        self.received_at
    }
}

/// Keeps an authentic delivery that is no event.
pub async fn unreadable(pool: &PgPool, verified: &Verified, why: Unreadable) -> sqlx::Result<()> {
    let delivery = verified.delivery();
    let kept = sqlx::query!(
        "INSERT INTO deliveries (received_at, sent_at, lag_ms, body, outcome, problem)
         VALUES ($1, $2, $3, $4, 'unreadable', $5)",
        delivery.received_at,
        delivery.sent_at,
        delivery.lag_ms(),
        &delivery.body[..],
        why.to_string(),
    );
    let kept = kept.execute(pool).await?;
    debug_assert_eq!(kept.rows_affected(), 1);
    Ok(())
}

/// Keeps an authentic delivery that came outside the tolerance. Nothing of its payload is believed but that there is a
/// render with this id, which the details call is asked about at once; unless there is nothing left that it could tell.
pub async fn stale(pool: &PgPool, stale: &Stale, event: Option<&Event>) -> sqlx::Result<()> {
    let delivery = stale.delivery();
    let kept = sqlx::query!(
        "WITH kept AS (
             INSERT INTO deliveries (received_at, sent_at, lag_ms, body, event_type, render_id, outcome, problem)
             VALUES ($1, $2, $3, $4, $5, $6, 'stale', 'signed outside the tolerance')
         ),
         render AS (
             INSERT INTO renders AS r (id, kind, first_seen_at, last_seen_at, updated_at, poll_wanted, poll_due_at)
             SELECT $6, $7, $1, $1, $1, true, $1 WHERE $7::text IS NOT NULL
             ON CONFLICT (id) DO UPDATE SET poll_wanted = true, poll_due_at = least(r.poll_due_at, $1)
             WHERE r.archive <> 'stored'
             RETURNING id
         )
         SELECT pg_notify('renderhook_polls', '') FROM render",
        delivery.received_at,
        delivery.sent_at,
        delivery.lag_ms(),
        &delivery.body[..],
        event.map(|event| event.event_type.as_str()),
        event.map(|event| event.payload.id.as_str()),
        event.and_then(|event| event.event_type.kind()).map(Kind::as_str),
    );
    // OK that no row may come back: then nobody is to be asked.
    kept.execute(pool).await.map(drop)
}

/// Up to `limit` deliveries that could not be read or were not known, received since `since` if given, and later than
/// number `after`, in the order in which they came. Those whose bodies are pruned have nothing left to read.
pub async fn find(pool: &PgPool, since: Option<DateTime<Utc>>, after: i64, limit: i64) -> sqlx::Result<Vec<Kept>> {
    let rows = sqlx::query!(
        r#"SELECT id, sent_at, received_at, lag_ms, body AS "body!"
           FROM deliveries
           WHERE outcome IN ('unknown', 'unreadable') AND body IS NOT NULL
               AND ($1::timestamptz IS NULL OR received_at >= $1) AND id > $2
           ORDER BY id
           LIMIT $3"#,
        since,
        after,
        limit,
    );
    let rows = rows.fetch_all(pool).await?;
    Ok(rows
        .into_iter()
        .map(|row| Kept {
            id: row.id,
            sent_at: row.sent_at,
            received_at: row.received_at,
            lag_ms: row.lag_ms,
            body: row.body.into(),
        })
        .collect())
}
