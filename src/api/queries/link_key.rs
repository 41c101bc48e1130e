//! The key that file links are signed with.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

/// Returns the key that all replicas share. If there is none yet, `candidate` becomes the key.
pub(in crate::api) async fn link_key(pool: &PgPool, candidate: [u8; 32], now: DateTime<Utc>) -> sqlx::Result<Vec<u8>> {
    let inserted = sqlx::query!(
        "INSERT INTO signing_keys (purpose, key, created_at) VALUES ('file_links', $1, $2) ON CONFLICT DO NOTHING",
        &candidate[..],
        now,
    );
    // OK if no row is inserted: then a key already exists.
    inserted.execute(pool).await?;
    sqlx::query_scalar!("SELECT key FROM signing_keys WHERE purpose = 'file_links'").fetch_one(pool).await
}
