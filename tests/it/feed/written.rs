//! Notifications are written in the transaction of what they report.

use renderhook::archive::{AttemptOutcome, AttemptReport, Capacity, Settler, StoredObject, claim_downloads};
use renderhook::domain::Status::{Canceled, Complete, Error, Rendering};
use renderhook::domain::{Notification, NotificationType};
use renderhook::feed::{FeedFilter, PostedTypes, read};
use renderhook::intake::{self, RecordRules};
use renderhook::runtime::Database;
use sqlx::PgPool;
use std::time::Duration;

use crate::support::observations::{at, completed, now, record, status_report};

/// Everything in the feed: which render, and what is reported.
async fn feed(pool: &PgPool) -> Vec<(String, Notification)> {
    let all = FeedFilter { types: NotificationType::ALL.to_vec(), render: None };
    let page = read(pool, &all, None, 1000).await.unwrap();
    page.entries.into_iter().map(|entry| (entry.render_id, entry.notification)).collect()
}

/// Of one render.
async fn feed_of(pool: &PgPool, id: &str) -> Vec<Notification> {
    feed(pool).await.into_iter().filter(|(render, _)| render == id).map(|(_, it)| it).collect()
}

/// Claims the one download that is due, and settles it as stored.
async fn store_one(pool: &PgPool) {
    let database = Database::from_pool(pool.clone());
    let capacity = Capacity { limit: 1, per_host: 1, ..Capacity::default() };
    let claimed = claim_downloads(&database, now(), Duration::from_mins(1), &capacity).await.unwrap().remove(0);
    let object = StoredObject { content_type: "video/mp4".to_owned(), size_bytes: 7, sha256: "ab".repeat(32) };
    let attempt = AttemptReport {
        outcome: AttemptOutcome::Stored(object),
        number: claimed.attempt,
        first_at: claimed.first_attempt_at,
        url: claimed.url.as_ref().ok().cloned(),
        max_attempts: 20,
        renews: false,
        deletes: false,
        chance: 0.0,
        ended_at: now(),
    };
    Settler::default().settle(&database, &claimed.lease, attempt).await.unwrap();
}

#[sqlx::test]
async fn each_transition_and_each_stored_file_is_reported_once_and_in_order(pool: PgPool) {
    let urls = ["https://files.example/a.mp4", "https://files.example/b.mp4"];
    let started = status_report("a", Some(Rendering), at(1));
    record(&pool, &[started.clone(), started.clone()]).await;
    record(&pool, &[completed("a", &urls, None, at(2)), started.clone()]).await;
    record(&pool, &[completed("a", &urls, None, at(2)), started]).await;
    store_one(&pool).await;
    store_one(&pool).await;
    let mut reported = feed_of(&pool, "a").await;
    // Which of the two files comes first is not fixed.
    reported[2..4].sort_by_key(|it| format!("{it:?}"));
    assert_eq!(
        reported,
        [
            Notification::Moved { from: None, to: Rendering },
            Notification::Moved { from: Some(Rendering), to: Complete },
            Notification::DownloadStored { index: 0 },
            Notification::DownloadStored { index: 1 },
            Notification::Ready,
        ]
    );
}

#[sqlx::test]
async fn failures_and_cancelations_are_reported_after_their_transition(pool: PgPool) {
    record(&pool, &[status_report("a", Some(Error), at(1)), status_report("b", Some(Canceled), at(1))]).await;
    let moved = |to| Notification::Moved { from: None, to };
    assert_eq!(feed_of(&pool, "a").await, [moved(Error), Notification::Failed]);
    assert_eq!(feed_of(&pool, "b").await, [moved(Canceled), Notification::Canceled]);
}

#[sqlx::test]
async fn a_file_without_a_url_makes_the_render_incomplete_when_the_others_are_stored(pool: PgPool) {
    record(&pool, &[completed("a", &["https://files.example/a.mp4", "not a url"], None, at(1))]).await;
    assert_eq!(feed_of(&pool, "a").await, [Notification::Moved { from: None, to: Complete }]);
    store_one(&pool).await;
    let reported = feed_of(&pool, "a").await;
    assert_eq!(reported[1..], [Notification::DownloadStored { index: 0 }, Notification::Incomplete]);
}

#[sqlx::test]
async fn only_the_types_that_are_posted_are_queued(pool: PgPool) {
    let posted: PostedTypes = [NotificationType::Failed].into_iter().collect();
    intake::record(
        &pool,
        now(),
        &[status_report("a", Some(Error), at(1))],
        &RecordRules { posted, ..RecordRules::default() },
    )
    .await
    .unwrap();
    let states: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT type, state FROM notifications ORDER BY position").fetch_all(&pool).await.unwrap();
    let pending = Some("pending".to_owned());
    assert_eq!(states, [("render.moved".to_owned(), None), ("render.failed".to_owned(), pending)]);
}
