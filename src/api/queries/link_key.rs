//! The key that links to files are signed with.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

/// The key that all replicas share. `candidate` becomes it if there is none yet.
pub async fn link_key(pool: &PgPool, candidate: [u8; 32], now: DateTime<Utc>) -> sqlx::Result<Vec<u8>> {
    let made = sqlx::query!(
        "INSERT INTO signing_keys (purpose, key, created_at) VALUES ('file_links', $1, $2) ON CONFLICT DO NOTHING",
        &candidate[..],
        now,
    );
    // OK if no row is inserted: then there is a key, from another replica or an earlier start.
    made.execute(pool).await?;
    sqlx::query_scalar!("SELECT key FROM signing_keys WHERE purpose = 'file_links'").fetch_one(pool).await
}
