//! Stores deliveries that are not recorded as observations.
//!
//! [`store_unreadable`] and [`store_stale`] store authentic deliveries that are unreadable or too old. [`find_unresolved`]
//! returns unreadable and unknown ones, which a later version may turn into an [`Observation`](super::Observation). A stale
//! delivery never becomes one; its render is polled instead.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool};

use super::rule::MAX_STORED_REPETITIONS;
use super::stored_delivery::StoredDelivery;
use crate::domain::{Event, Kind, RenderId, UnreadableEvent};
use crate::intake::signature::{Stale, Verified};
use crate::runtime::{Tallies, Tally, begin};

/// Stores an authentic delivery that is not a valid event.
pub(in crate::intake) async fn store_unreadable(
    pool: &PgPool,
    verified: &Verified,
    why: UnreadableEvent,
) -> sqlx::Result<()> {
    let delivery = verified.delivery();
    if stored_repetitions(pool, &[delivery.sent_at], &[&delivery.body]).await? == [MAX_STORED_REPETITIONS] {
        return Ok(());
    }
    let inserted = sqlx::query!(
        "INSERT INTO deliveries (received_at, sent_at, lag_ms, body, outcome, problem)
         VALUES ($1, $2, $3, $4, 'unreadable', $5)",
        delivery.received_at,
        delivery.sent_at,
        delivery.lag_ms(),
        &delivery.body[..],
        why.to_string(),
    );
    let inserted = inserted.execute(pool).await?;
    debug_assert_eq!(inserted.rows_affected(), 1);
    Ok(())
}

/// Stores an authentic delivery with a timestamp outside the tolerance. Its payload is not trusted, except that the render
/// exists. The render is polled at once, unless all its files are stored. Of an erased render, nothing is stored.
pub(in crate::intake) async fn store_stale(pool: &PgPool, stale: &Stale, event: Option<&Event>) -> sqlx::Result<()> {
    let delivery = stale.delivery();
    if stored_repetitions(pool, &[delivery.sent_at], &[&delivery.body]).await? == [MAX_STORED_REPETITIONS] {
        return Ok(());
    }
    let mut transaction = begin(pool, "BEGIN").await?;
    if let Some(event) = event
        && is_erased(&mut transaction, &event.payload.id).await?
    {
        return Ok(());
    }
    let inserted = sqlx::query!(
        "INSERT INTO deliveries (received_at, sent_at, lag_ms, body, event_type, render_id, outcome, problem)
         VALUES ($1, $2, $3, $4, $5, $6, 'stale', 'signed outside the tolerance')",
        delivery.received_at,
        delivery.sent_at,
        delivery.lag_ms(),
        &delivery.body[..],
        event.map(|event| event.event_type.as_str()),
        event.map(|event| event.payload.id.as_str()),
    );
    inserted.execute(&mut *transaction).await?;
    if let Some((event, kind)) = event.and_then(|event| Some((event, event.event_type.kind()?))) {
        request_poll(&mut transaction, &event.payload.id, kind, delivery.received_at).await?;
    }
    transaction.commit().await
}

/// Whether nothing about a render is to be kept. Locks its row, so that it is not erased meanwhile.
async fn is_erased(transaction: &mut PgConnection, id: &RenderId) -> sqlx::Result<bool> {
    let erased = sqlx::query_scalar!(
        r#"SELECT erasure_requested_at IS NOT NULL AS "erased!" FROM renders WHERE id = $1 FOR SHARE"#,
        id.as_str(),
    );
    Ok(erased.fetch_optional(transaction).await?.unwrap_or(false))
}

/// Requests a poll of the render, and creates the render if it is unknown.
async fn request_poll(
    transaction: &mut PgConnection,
    id: &RenderId,
    kind: Kind,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let requested = sqlx::query!(
        r#"WITH created AS (
               INSERT INTO renders AS r (id, kind, first_seen_at, last_seen_at, updated_at, poll_requested, poll_due_at)
               VALUES ($1, $2, $3, $3, $3, true, $3)
               ON CONFLICT (id) DO NOTHING
               RETURNING id
           ),
           updated AS (
               UPDATE renders SET poll_requested = true, poll_due_at = least(poll_due_at, $3)
               WHERE id = $1 AND archive <> 'stored'
           )
           SELECT pg_notify('renderhook_polls', ''), EXISTS (SELECT FROM created) AS "is_new!""#,
        id.as_str(),
        kind.as_str(),
        now,
    );
    let mut tallies = Tallies::default();
    tallies.add(Tally::Renders(kind, None), i32::from(requested.fetch_one(&mut *transaction).await?.is_new));
    tallies.write(transaction).await
}

/// How many times each of these requests is already stored as unknown, unreadable, or stale, up to
/// [`MAX_STORED_REPETITIONS`]. Without the secret, a captured request can only be repeated with the same timestamp and body.
pub(super) async fn stored_repetitions(
    executor: impl PgExecutor<'_>,
    sent_at: &[Option<DateTime<Utc>>],
    bodies: &[&[u8]],
) -> sqlx::Result<Vec<i32>> {
    let counts = sqlx::query_scalar!(
        r#"SELECT stored.count::int AS "count!"
           FROM unnest($1::timestamptz[], $2::bytea[]) WITH ORDINALITY AS request (sent_at, body, ord)
           CROSS JOIN LATERAL (
               SELECT count(*) FROM (
                   SELECT FROM deliveries AS d
                   WHERE d.outcome IN ('unknown', 'unreadable', 'stale')
                       AND d.sent_at = request.sent_at AND d.body = request.body
                   LIMIT $3
               ) AS same
           ) AS stored
           ORDER BY request.ord"#,
        sent_at as _,
        bodies as _,
        i64::from(MAX_STORED_REPETITIONS),
    );
    counts.fetch_all(executor).await
}

/// Finds up to `limit` unreadable and unknown deliveries received since `since` with an id above `after`, in the order of
/// arrival. Skips deliveries with an erased body.
pub(in crate::intake) async fn find_unresolved(
    pool: &PgPool,
    since: Option<DateTime<Utc>>,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<StoredDelivery>> {
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
        .map(|row| StoredDelivery {
            id: row.id,
            sent_at: row.sent_at,
            received_at: row.received_at,
            lag_ms: row.lag_ms,
            body: row.body.into(),
        })
        .collect())
}
