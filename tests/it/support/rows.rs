//! What the service wrote, as the tests look at it.

use sqlx::PgPool;

/// A row of `deliveries`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Kept {
    /// What became of it.
    pub(crate) outcome: String,
    /// The raw body.
    pub(crate) body: Vec<u8>,
    /// How late it was.
    pub(crate) lag_ms: Option<i64>,
    /// What could be read of it.
    pub(crate) event_type: Option<String>,
    /// Of whom it speaks.
    pub(crate) render_id: Option<String>,
    /// Why it was not believed.
    pub(crate) problem: Option<String>,
}

/// Every delivery that was kept, in the order of arrival.
pub(crate) async fn kept(pool: &PgPool) -> Vec<Kept> {
    sqlx::query_as("SELECT outcome, body, lag_ms, event_type, render_id, problem FROM deliveries ORDER BY id")
        .fetch_all(pool)
        .await
        .unwrap()
}

/// The delivery that was kept last.
pub(crate) async fn last_kept(pool: &PgPool) -> Kept {
    sqlx::query_as(
        "SELECT outcome, body, lag_ms, event_type, render_id, problem FROM deliveries ORDER BY id DESC LIMIT 1",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

/// How many rows `table` has.
pub(crate) async fn count(pool: &PgPool, table: &str) -> i64 {
    let statement = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(statement).fetch_one(pool).await.unwrap()
}
