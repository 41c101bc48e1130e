//! Deliveries that are kept and not believed, or not yet.
//!
//! [`unreadable`] and [`stale`] keep what was authentic and told nothing. What could not be read, or was not known, is
//! found again by [`find`]; a later version makes an [`Observation`](super::Observation) of it. What was stale never
//! becomes one: the render that it names is polled instead.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool};

use super::rule::KEPT_REPETITIONS;
use crate::domain::{Event, Kind, RenderId, UnreadableEvent};
use crate::intake::signature::{Stale, Verified};
use crate::runtime::{Tallies, Tally};

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
pub async fn unreadable(pool: &PgPool, verified: &Verified, why: UnreadableEvent) -> sqlx::Result<()> {
    let delivery = verified.delivery();
    if repetitions(pool, &[delivery.sent_at], &[&delivery.body]).await? == [KEPT_REPETITIONS] {
        return Ok(());
    }
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
/// render with this id, which is polled at once; unless there is nothing left that the details API could add.
pub async fn stale(pool: &PgPool, stale: &Stale, event: Option<&Event>) -> sqlx::Result<()> {
    let delivery = stale.delivery();
    if repetitions(pool, &[delivery.sent_at], &[&delivery.body]).await? == [KEPT_REPETITIONS] {
        return Ok(());
    }
    let mut transaction = pool.begin().await?;
    let kept = sqlx::query!(
        "INSERT INTO deliveries (received_at, sent_at, lag_ms, body, event_type, render_id, outcome, problem)
         VALUES ($1, $2, $3, $4, $5, $6, 'stale', 'signed outside the tolerance')",
        delivery.received_at,
        delivery.sent_at,
        delivery.lag_ms(),
        &delivery.body[..],
        event.map(|event| event.event_type.as_str()),
        event.map(|event| event.payload.id.as_str()),
    );
    kept.execute(&mut *transaction).await?;
    if let Some((event, kind)) = event.and_then(|event| Some((event, event.event_type.kind()?))) {
        want_poll(&mut transaction, &event.payload.id, kind, delivery.received_at).await?;
    }
    transaction.commit().await
}

/// Has the render polled at once, and creates it if it is not known.
async fn want_poll(transaction: &mut PgConnection, id: &RenderId, kind: Kind, now: DateTime<Utc>) -> sqlx::Result<()> {
    let wanted = sqlx::query!(
        r#"WITH created AS (
               INSERT INTO renders AS r (id, kind, first_seen_at, last_seen_at, updated_at, poll_requested, poll_due_at)
               VALUES ($1, $2, $3, $3, $3, true, $3)
               ON CONFLICT (id) DO NOTHING
               RETURNING id
           ),
           wanted AS (
               UPDATE renders SET poll_requested = true, poll_due_at = least(poll_due_at, $3)
               WHERE id = $1 AND archive <> 'stored'
           )
           SELECT pg_notify('renderhook_polls', ''), EXISTS (SELECT FROM created) AS "is_new!""#,
        id.as_str(),
        kind.as_str(),
        now,
    );
    let mut tallies = Tallies::default();
    tallies.add(Tally::Renders(kind, None), i32::from(wanted.fetch_one(&mut *transaction).await?.is_new));
    tallies.write(transaction).await
}

/// How many times each of these requests is kept, of those that are kept for themselves and not with a render: at most
/// [`KEPT_REPETITIONS`]. Without the secret, a captured request can be repeated only with its time and its body.
pub(super) async fn repetitions(
    executor: impl PgExecutor<'_>,
    sent_at: &[Option<DateTime<Utc>>],
    bodies: &[&[u8]],
) -> sqlx::Result<Vec<i32>> {
    let counts = sqlx::query_scalar!(
        r#"SELECT kept.count::int AS "count!"
           FROM unnest($1::timestamptz[], $2::bytea[]) WITH ORDINALITY AS request (sent_at, body, ord)
           CROSS JOIN LATERAL (
               SELECT count(*) FROM (
                   SELECT FROM deliveries AS d
                   WHERE d.outcome IN ('unknown', 'unreadable', 'stale')
                       AND d.sent_at = request.sent_at AND d.body = request.body
                   LIMIT $3
               ) AS same
           ) AS kept
           ORDER BY request.ord"#,
        sent_at as _,
        bodies as _,
        i64::from(KEPT_REPETITIONS),
    );
    counts.fetch_all(executor).await
}

/// Up to `limit` deliveries that could not be read or were not known, received since `since` if given, and later than
/// number `after`, in the order in which they came. Those whose bodies are erased have nothing left to read.
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
