//! Recording wakes callers that wait for a changed render, workers if there are new files, and nobody else.

use renderhook::api;
use renderhook::feed::PostedTypes;

use renderhook::api::{Announcement, ExternalIdUpdate};
use renderhook::domain::Kind;
use renderhook::domain::Status::{Complete, Rendering};
use renderhook::intake::{self, Observation};
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgListener;

use crate::support::words::{at, completed, now, telling, word};

/// Listens for notifications about renders and downloads.
struct Ear {
    pool: PgPool,
    listener: PgListener,
}

impl Ear {
    async fn of(pool: &PgPool) -> Self {
        let mut listener = PgListener::connect_with(pool).await.unwrap();
        listener.listen_all(["renderhook_renders", "renderhook_downloads", "end"]).await.unwrap();
        Self { pool: pool.clone(), listener }
    }

    /// Records a batch, and returns what it woke, sorted: ids of renders, or `workers`.
    async fn woken_by(&mut self, observations: &[Observation]) -> Vec<String> {
        intake::record(&self.pool, now(), observations, PostedTypes::default()).await.unwrap();
        self.heard().await
    }

    /// Everything that was notified so far. Postgres keeps the order of commits, so the end marker comes last.
    async fn heard(&mut self) -> Vec<String> {
        sqlx::query("SELECT pg_notify('end', '')").execute(&self.pool).await.unwrap();
        let mut woken = Vec::new();
        loop {
            let notification = self.listener.recv().await.unwrap();
            match notification.channel() {
                "end" => break,
                "renderhook_downloads" => woken.push("workers".to_owned()),
                _ => woken.push(notification.payload().to_owned()),
            }
        }
        woken.sort();
        woken
    }
}

const URL: [&str; 1] = ["https://files.example/a.mp4"];

#[sqlx::test]
async fn a_change_wakes_callers_that_wait_for_the_render_and_a_duplicate_wakes_none(pool: PgPool) {
    let mut listener = Ear::of(&pool).await;
    let started = telling("a", Some(Rendering), at(1));
    assert_eq!(listener.woken_by(std::slice::from_ref(&started)).await, ["a"]);
    assert!(listener.woken_by(std::slice::from_ref(&started)).await.is_empty());
    // Signed again, like a retry.
    assert!(listener.woken_by(&[telling("a", Some(Rendering), at(9))]).await.is_empty());
    assert_eq!(listener.woken_by(&[telling("a", Some(Complete), at(2))]).await, ["a"]);
    assert!(listener.woken_by(&[started]).await.is_empty(), "late");
    assert!(listener.woken_by(&[word("model.completed", &json!({"id": "m"}), at(1))]).await.is_empty(), "unknown");
}

#[sqlx::test]
async fn a_changed_field_wakes_waiting_callers_and_an_outdated_one_does_not(pool: PgPool) {
    let mut listener = Ear::of(&pool).await;
    let priced = |credits: i64, observed_at| {
        word("video.completed", &json!({"id": "a", "status": "complete", "credits_charged": credits}), at(observed_at))
    };
    assert_eq!(listener.woken_by(&[priced(450, 5)]).await, ["a"]);
    assert_eq!(listener.woken_by(&[priced(0, 8)]).await, ["a"], "a refund");
    assert!(listener.woken_by(&[priced(450, 6)]).await.is_empty(), "an outdated observation");
    assert!(listener.woken_by(&[priced(0, 9)]).await.is_empty(), "the same, reported again");
}

#[sqlx::test]
async fn new_files_wake_the_workers_and_known_files_do_not(pool: PgPool) {
    let mut listener = Ear::of(&pool).await;
    assert_eq!(listener.woken_by(&[completed("a", &URL, Some(at(500)), at(1))]).await, ["a", "workers"]);
    assert!(listener.woken_by(&[completed("a", &URL, Some(at(500)), at(1))]).await.is_empty());
    assert_eq!(listener.woken_by(&[completed("b", &["no url"], None, at(1))]).await, ["b"], "nothing to fetch");
    let fresh = ["https://files.example/a.mp4?signature=fresh"];
    assert_eq!(listener.woken_by(&[completed("a", &fresh, Some(at(900)), at(2))]).await, ["a", "workers"]);
}

#[sqlx::test]
async fn a_known_url_neither_wakes_the_workers_nor_shortens_a_backoff(pool: PgPool) {
    let mut listener = Ear::of(&pool).await;
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
        intake::record(&pool, now(), &[completed("a", &URL, None, at(9))], PostedTypes::default()).await.unwrap();
    assert_eq!(results[0].queued, 0);
    let due: Vec<chrono::DateTime<chrono::Utc>> =
        sqlx::query_scalar("SELECT due_at FROM downloads WHERE url_observed_at = $1")
            .bind(at(9))
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(due, [later]);
    assert!(!listener.heard().await.contains(&"workers".to_owned()));
}

#[sqlx::test]
async fn a_batch_wakes_the_callers_of_each_changed_render_once(pool: PgPool) {
    let mut listener = Ear::of(&pool).await;
    listener.woken_by(&[telling("known", Some(Rendering), at(1))]).await;
    let batch = [
        telling("a", Some(Rendering), at(1)),
        telling("known", Some(Rendering), at(1)),
        completed("a", &URL, None, at(2)),
        telling("b", Some(Rendering), at(2)),
    ];
    assert_eq!(listener.woken_by(&batch).await, ["a", "b", "workers"]);
}

#[sqlx::test]
async fn an_announcement_that_changes_the_render_wakes_its_callers(pool: PgPool) {
    let mut listener = Ear::of(&pool).await;
    let mut announced = Announcement { kind: Kind::Video, external_id: ExternalIdUpdate::Keep, metadata: None };
    for (external_id, expected) in [("one", vec!["a"]), ("one", vec![]), ("two", vec!["a"])] {
        announced.external_id = ExternalIdUpdate::Set(external_id.parse().unwrap());
        api::announce(&pool, &"a".parse().unwrap(), &announced, now()).await.unwrap();
        assert_eq!(listener.heard().await, expected, "{external_id}");
    }
}
