//! Beginning transactions.

use sqlx::{PgPool, PgTransaction};

/// Begins a transaction with `statement`, such as `BEGIN`.
///
/// In a task of its own, because sqlx does not roll back if it is canceled while it waits for the answer to `BEGIN`: the
/// connection would go back to the pool in a transaction, in which others write without a commit. Here the
/// transaction begins in any case, and is rolled back if nobody waits for it any more.
pub async fn begin(pool: &PgPool, statement: &'static str) -> sqlx::Result<PgTransaction<'static>> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin_with(statement).await });
    begun.await.map_err(|_panicked| sqlx::Error::WorkerCrashed)?
}
