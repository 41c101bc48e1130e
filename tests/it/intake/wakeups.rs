//! Recording wakes the workers if there are new files, and nobody else.

use renderhook::intake::{self, Observation, RecordRules};
use sqlx::PgPool;
use sqlx::postgres::PgListener;

use crate::support::observations::{at, completed, now};

/// Listens for notifications about downloads.
struct Listener {
    pool: PgPool,
    listener: PgListener,
}

impl Listener {
    async fn of(pool: &PgPool) -> Self {
        let mut listener = PgListener::connect_with(pool).await.unwrap();
        listener.listen_all(["renderhook_downloads", "end"]).await.unwrap();
        Self { pool: pool.clone(), listener }
    }

    /// Records a batch, and returns what it woke.
    async fn woken_by(&mut self, observations: &[Observation]) -> Vec<String> {
        intake::record(&self.pool, now(), observations, &RecordRules::default()).await.unwrap();
        self.notified().await
    }

    /// Everything that was notified so far. Postgres keeps the order of commits, so the end marker comes last.
    async fn notified(&mut self) -> Vec<String> {
        sqlx::query("SELECT pg_notify('end', '')").execute(&self.pool).await.unwrap();
        let mut woken = Vec::new();
        loop {
            let notification = self.listener.recv().await.unwrap();
            if notification.channel() == "end" {
                return woken;
            }
            woken.push("workers".to_owned());
        }
    }
}

const URL: [&str; 1] = ["https://files.example/a.mp4"];

#[sqlx::test]
async fn new_files_wake_the_workers_and_known_files_do_not(pool: PgPool) {
    let mut listener = Listener::of(&pool).await;
    assert_eq!(listener.woken_by(&[completed("a", &URL, Some(at(500)), at(1))]).await, ["workers"]);
    assert!(listener.woken_by(&[completed("a", &URL, Some(at(500)), at(1))]).await.is_empty());
    let nothing_to_fetch = completed("b", &["no url"], None, at(1));
    assert!(listener.woken_by(&[nothing_to_fetch]).await.is_empty());
    let fresh = ["https://files.example/a.mp4?signature=fresh"];
    assert_eq!(listener.woken_by(&[completed("a", &fresh, Some(at(900)), at(2))]).await, ["workers"]);
}

#[sqlx::test]
async fn a_known_url_neither_wakes_the_workers_nor_shortens_a_backoff(pool: PgPool) {
    let mut listener = Listener::of(&pool).await;
    listener.woken_by(&[completed("a", &URL, None, at(1))]).await;
    let later = now() + chrono::TimeDelta::seconds(600);
    sqlx::query("UPDATE downloads SET due_at = $1, updated_at = $2")
        .bind(later)
        .bind(at(0))
        .execute(&pool)
        .await
        .unwrap();
    // Signed again: the same URL works longer, which is no reason to retry earlier.
    let results =
        intake::record(&pool, now(), &[completed("a", &URL, None, at(9))], &RecordRules::default()).await.unwrap();
    assert_eq!(results[0].queued, 0);
    let due: Vec<chrono::DateTime<chrono::Utc>> =
        sqlx::query_scalar("SELECT due_at FROM downloads WHERE url_observed_at = $1")
            .bind(at(9))
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(due, [later]);
    assert!(listener.notified().await.is_empty());
}
