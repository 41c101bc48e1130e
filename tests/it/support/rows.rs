//! Rows in the service's database.

use sqlx::PgPool;

/// A row of `deliveries`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct DeliveryRow {
    /// The outcome.
    pub(crate) outcome: String,
    /// The raw body.
    pub(crate) body: Vec<u8>,
    /// The lag.
    pub(crate) lag_ms: Option<i64>,
    /// The event type, if readable.
    pub(crate) event_type: Option<String>,
    /// The render's id, if readable.
    pub(crate) render_id: Option<String>,
    /// Why it is unreadable or stale.
    pub(crate) problem: Option<String>,
}

/// All stored deliveries, in the order of arrival.
pub(crate) async fn deliveries(pool: &PgPool) -> Vec<DeliveryRow> {
    sqlx::query_as("SELECT outcome, body, lag_ms, event_type, render_id, problem FROM deliveries ORDER BY id")
        .fetch_all(pool)
        .await
        .unwrap()
}

/// The latest stored delivery.
pub(crate) async fn last_delivery(pool: &PgPool) -> DeliveryRow {
    sqlx::query_as(
        "SELECT outcome, body, lag_ms, event_type, render_id, problem FROM deliveries ORDER BY id DESC LIMIT 1",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

/// The number of rows in `table`.
pub(crate) async fn count(pool: &PgPool, table: &str) -> i64 {
    let statement = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(statement).fetch_one(pool).await.unwrap()
}
