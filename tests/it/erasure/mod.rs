//! Erasing renders: nothing remains but a tombstone, whatever fails in between.

mod crashes;
mod journeys;
mod under_way;

use std::collections::HashMap;

use renderhook::archive::Store;
use renderhook::erasure::{Eraser, ErasureProgress, ErasureSource, request_erasure};
use renderhook::runtime::{Clock, Database};
use sqlx::PgPool;

/// An eraser without an API key.
fn eraser(pool: &PgPool, store: &Store) -> Eraser {
    let database = Database::from_pool(pool.clone());
    Eraser { database, store: store.clone(), projects: None, clock: Clock::system() }
}

async fn request(pool: &PgPool, id: &str) -> Option<ErasureProgress> {
    let (database, now) = (Database::from_pool(pool.clone()), Clock::system().now());
    request_erasure(&database, &id.parse().unwrap(), false, ErasureSource::Api, now).await.unwrap()
}

/// Makes all erasures due, as if leases and backoffs had passed.
async fn make_due(pool: &PgPool) {
    sqlx::query("UPDATE erasures SET due_at = now() - interval '1 second'").execute(pool).await.unwrap();
}

/// Erases until nothing is due.
async fn erase_all(eraser: &Eraser) {
    while eraser.step().await {}
}

/// All rows of all tables that mention `word`, as text, by table.
async fn mentions(pool: &PgPool, word: &str) -> HashMap<String, i64> {
    let tables =
        "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(pool).await.unwrap();
    let mut found = HashMap::new();
    for table in tables {
        // A body is shown in hex.
        let statement = format!("SELECT count(*) FROM {table} AS t WHERE t::text LIKE $1 OR t::text LIKE $2");
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .bind(format!("%{word}%"))
            .bind(format!("%{}%", hex::encode(word)))
            .fetch_one(pool)
            .await
            .unwrap();
        if rows > 0 {
            found.insert(table, rows);
        }
    }
    found
}
