//! Deliveries as operators see them, newest first.
//!
//! The order is that of the ids, which the database gives in the order of recording. So every page is read from an index,
//! whatever the filter and however many deliveries there are: all and those that were recorded from the primary key, the
//! other outcomes from an index of their own, and those of one render from the index of renders.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use crate::domain::{DeliveryOutcome, RenderId};
use crate::http::without_queries;

/// A delivery without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryView {
    /// Ascends in the order in which deliveries were recorded.
    pub id: i64,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// When it was signed, according to its timestamp.
    #[schema(required)]
    pub sent_at: Option<DateTime<Utc>>,
    /// `received_at` minus `sent_at`; negative if the sender's clock is ahead.
    #[schema(required)]
    pub lag_ms: Option<i64>,
    /// The event's type, if the body could be read.
    #[schema(required)]
    pub event_type: Option<String>,
    /// The render's id, if the body could be read.
    #[schema(required)]
    pub render_id: Option<String>,
    /// What became of it.
    pub outcome: DeliveryOutcome,
    /// Why it is unreadable or stale.
    #[schema(required)]
    pub problem: Option<String>,
    /// The size of the body; `null` once it is erased.
    #[schema(required)]
    pub size_bytes: Option<i32>,
}

/// A delivery with its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DeliveryWithBody)]
pub struct DeliveryBodyView {
    /// What the list shows of it.
    #[serde(flatten)]
    pub delivery: DeliveryView,
    /// The body as it came, without the queries of URLs: each is `?redacted`. Bytes that are not UTF-8 are U+FFFD. `null` once
    /// it is erased.
    #[schema(required)]
    pub body: Option<String>,
}

/// A filter for deliveries. A delivery must match every field that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// What became of it.
    pub outcome: Option<DeliveryOutcome>,
    /// The render.
    pub render: Option<RenderId>,
    /// Only deliveries before the one with this id.
    pub before: Option<i64>,
}

/// A page of deliveries.
#[derive(Debug, Clone)]
pub struct DeliveryPage {
    /// The deliveries, newest first.
    pub deliveries: Vec<DeliveryView>,
    /// The `before` of the next page; `None` on the last page.
    pub next: Option<i64>,
}

/// A row with an outcome that is still text.
struct DeliveryRow {
    id: i64,
    received_at: DateTime<Utc>,
    sent_at: Option<DateTime<Utc>>,
    lag_ms: Option<i64>,
    event_type: Option<String>,
    render_id: Option<String>,
    outcome: String,
    problem: Option<String>,
    size_bytes: Option<i32>,
}

impl TryFrom<DeliveryRow> for DeliveryView {
    type Error = sqlx::Error;

    fn try_from(row: DeliveryRow) -> sqlx::Result<Self> {
        let outcome = parsed(&row.outcome)?;
        let DeliveryRow { id, received_at, sent_at, lag_ms, event_type, render_id, problem, size_bytes, .. } = row;
        Ok(Self { id, received_at, sent_at, lag_ms, event_type, render_id, outcome, problem, size_bytes })
    }
}

/// The outcome in a row. A CHECK allows no other text.
fn parsed(outcome: &str) -> sqlx::Result<DeliveryOutcome> {
    outcome.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Reads a page of at most `limit` deliveries.
pub async fn deliveries(pool: &PgPool, filter: &DeliveryFilter, limit: u16) -> sqlx::Result<DeliveryPage> {
    let mut rows = rows(pool, filter, i64::from(limit) + 1).await?; // one more, to see whether there is another page
    let has_more = rows.len() > usize::from(limit);
    rows.truncate(limit.into());
    let next = rows.last().filter(|_| has_more).map(|row| row.id);
    let deliveries = rows.into_iter().map(DeliveryView::try_from).collect::<sqlx::Result<_>>()?;
    Ok(DeliveryPage { deliveries, next })
}

async fn rows(pool: &PgPool, filter: &DeliveryFilter, limit: i64) -> sqlx::Result<Vec<DeliveryRow>> {
    let DeliveryFilter { outcome, render, before } = filter;
    let outcome = outcome.map(DeliveryOutcome::as_str);
    match (render, outcome) {
        (Some(render), _) => of_render(pool, render, outcome, *before, limit).await,
        (None, Some(outcome)) if outcome != DeliveryOutcome::Recorded.as_str() => {
            of_outcome(pool, outcome, *before, limit).await
        }
        (None, _) => newest(pool, outcome, *before, limit).await,
    }
}

/// All, or those that were recorded, of which nearly every delivery is one.
async fn newest(
    pool: &PgPool,
    outcome: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<DeliveryRow>> {
    let rows = sqlx::query_as!(
        DeliveryRow,
        "SELECT id, received_at, sent_at, lag_ms, event_type, render_id, outcome, problem,
             octet_length(body) AS size_bytes
         FROM deliveries
         WHERE id < coalesce($1, 9223372036854775807) AND ($2::text IS NULL OR outcome = $2)
         ORDER BY id DESC LIMIT $3",
        before,
        outcome,
        limit,
    );
    rows.fetch_all(pool).await
}

async fn of_outcome(pool: &PgPool, outcome: &str, before: Option<i64>, limit: i64) -> sqlx::Result<Vec<DeliveryRow>> {
    let rows = sqlx::query_as!(
        DeliveryRow,
        // The second condition on the outcome is that of the index.
        "SELECT id, received_at, sent_at, lag_ms, event_type, render_id, outcome, problem,
             octet_length(body) AS size_bytes
         FROM deliveries
         WHERE id < coalesce($1, 9223372036854775807) AND outcome = $2 AND outcome <> 'recorded'
         ORDER BY outcome DESC, id DESC LIMIT $3",
        before,
        outcome,
        limit,
    );
    rows.fetch_all(pool).await
}

async fn of_render(
    pool: &PgPool,
    render: &RenderId,
    outcome: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<DeliveryRow>> {
    let rows = sqlx::query_as!(
        DeliveryRow,
        // OFFSET 0 keeps the limit from the inner query, so that it is not read in the order of all deliveries.
        r#"SELECT id AS "id!", received_at AS "received_at!", sent_at, lag_ms, event_type, render_id,
               outcome AS "outcome!", problem, octet_length(body) AS size_bytes
           FROM (SELECT * FROM deliveries WHERE render_id = $1 OFFSET 0) AS of_render
           WHERE id < coalesce($2, 9223372036854775807) AND ($3::text IS NULL OR outcome = $3)
           ORDER BY id DESC LIMIT $4"#,
        render.as_str(),
        before,
        outcome,
        limit,
    );
    rows.fetch_all(pool).await
}

/// Reads a delivery with its body.
pub async fn delivery(pool: &PgPool, id: i64) -> sqlx::Result<Option<DeliveryBodyView>> {
    let row = sqlx::query!(
        "SELECT id, received_at, sent_at, lag_ms, event_type, render_id, outcome, problem,
             octet_length(body) AS size_bytes, body
         FROM deliveries WHERE id = $1",
        id,
    );
    let Some(row) = row.fetch_optional(pool).await? else { return Ok(None) };
    let body = row.body.map(|body| without_queries(&String::from_utf8_lossy(&body)));
    let delivery = DeliveryView {
        id: row.id,
        received_at: row.received_at,
        sent_at: row.sent_at,
        lag_ms: row.lag_ms,
        event_type: row.event_type,
        render_id: row.render_id,
        outcome: parsed(&row.outcome)?,
        problem: row.problem,
        size_bytes: row.size_bytes,
    };
    Ok(Some(DeliveryBodyView { delivery, body }))
}
