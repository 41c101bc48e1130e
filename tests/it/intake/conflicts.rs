//! Contradictory observations: which status stays, which changes, and which requests a poll.

use renderhook::domain::Status::{self, Canceled, Complete, Error, Queued, Rendering};
use renderhook::intake::{Observation, StatusChange};
use serde_json::json;
use sqlx::PgPool;

use crate::support::observations::{at, history, observation, polled, record, record_each, status_report};

fn poll(id: &str, status: Status, seconds: i64) -> Observation {
    polled(id, &json!({"status": status}), at(seconds))
}

fn webhook(id: &str, status: Status, seconds: i64) -> Observation {
    status_report(id, Some(status), at(seconds))
}

async fn poll_requested(pool: &PgPool, id: &str) -> bool {
    sqlx::query_scalar("SELECT poll_requested FROM renders WHERE id = $1").bind(id).fetch_one(pool).await.unwrap()
}

/// Marks the requested poll as done, like the reconciler.
async fn mark_polled(pool: &PgPool, id: &str) {
    let answered = "UPDATE renders SET poll_requested = false, poll_due_at = NULL WHERE id = $1";
    sqlx::query(answered).bind(id).execute(pool).await.unwrap();
}

#[sqlx::test]
async fn every_status_reported_by_a_poll_after_every_other_follows_the_pure_rule(pool: PgPool) {
    for before in Status::ALL {
        for reported in Status::ALL {
            for way in ["in two calls", "in one batch"] {
                let id = format!("{before}-{reported}-{way}");
                let observations = [webhook(&id, before, 1), poll(&id, reported, 2)];
                let results = if way == "in one batch" {
                    record(&pool, &observations).await
                } else {
                    record_each(&pool, &observations).await
                };
                let to = Status::after_poll(Some(before), reported);
                let expected = to.map(|to| StatusChange { from: Some(before), to });
                assert_eq!(results[1].transition, expected, "{id}");
                let chain: Vec<_> = [(None, before)].into_iter().chain(to.map(|to| (Some(before), to))).collect();
                assert_eq!(history(&pool, &id).await, chain, "{id}");
                let status: String = sqlx::query_scalar("SELECT status FROM renders WHERE id = $1")
                    .bind(&id)
                    .fetch_one(&pool)
                    .await
                    .unwrap();
                assert_eq!(status, to.unwrap_or(before).as_str(), "{id}");
            }
        }
    }
}

#[sqlx::test]
async fn a_failure_and_a_cancelation_request_one_poll_that_decides(pool: PgPool) {
    for (first, second) in [(Error, Canceled), (Canceled, Error)] {
        for (answer, path) in [(first, vec![(None, first)]), (second, vec![(None, first), (Some(first), second)])] {
            let id = format!("{first}-{second}-{answer}");
            record(&pool, &[webhook(&id, first, 1)]).await;
            assert!(!poll_requested(&pool, &id).await, "{id}: there is no contradiction yet");
            let results = record(&pool, &[webhook(&id, second, 2)]).await;
            assert_eq!(
                (results[0].transition, results[0].previous_failure),
                (None, Some(first)),
                "{id}: the first one stays"
            );
            assert!(poll_requested(&pool, &id).await, "{id}");

            record(&pool, &[poll(&id, answer, 3)]).await;
            mark_polled(&pool, &id).await;
            assert_eq!(history(&pool, &id).await, path, "{id}");
            // The poll has decided, so further contradictions neither change it nor request another poll.
            let later = [webhook(&id, first, 4), webhook(&id, second, 5), poll(&id, first, 6), poll(&id, second, 7)];
            for results in record_each(&pool, &later).await {
                assert_eq!(results.transition, None, "{id}");
            }
            assert!(!poll_requested(&pool, &id).await, "{id}");
            assert_eq!(history(&pool, &id).await, path, "{id}");
        }
    }
}

#[sqlx::test]
async fn a_failure_and_a_cancelation_in_one_batch_request_a_poll(pool: PgPool) {
    record(&pool, &[webhook("new", Error, 1), webhook("new", Canceled, 1)]).await;
    assert!(poll_requested(&pool, "new").await);
    record(&pool, &[webhook("known", Rendering, 1)]).await;
    record(&pool, &[webhook("known", Canceled, 2), webhook("known", Error, 2)]).await;
    assert!(poll_requested(&pool, "known").await);
    // A poll in the same batch decides at once.
    record(&pool, &[webhook("decided", Error, 1), webhook("decided", Canceled, 1), poll("decided", Canceled, 2)]).await;
    assert!(!poll_requested(&pool, "decided").await);
    assert_eq!(history(&pool, "decided").await, [(None, Error), (Some(Error), Canceled)]);
}

#[sqlx::test]
async fn a_failed_render_that_becomes_complete_is_polled_once_more(pool: PgPool) {
    for end in [Error, Canceled] {
        let id = end.to_string();
        record(&pool, &[webhook(&id, end, 1)]).await;
        let payload = json!({"status": "complete", "id": id, "downloads": [{"url": "https://files.example/a.mp4"}]});
        let results = record(&pool, &[observation("video.completed", &payload, at(2))]).await;
        assert_eq!(
            (results[0].transition, results[0].previous_failure),
            (Some(StatusChange { from: Some(end), to: Complete }), Some(end))
        );
        assert!(poll_requested(&pool, &id).await);
        // A complete render stays complete, whatever the poll returns.
        let results = record(&pool, &[poll(&id, end, 3)]).await;
        assert_eq!(results[0].transition, None);
        mark_polled(&pool, &id).await;
        record_each(&pool, &[webhook(&id, Error, 4), webhook(&id, Canceled, 5), webhook(&id, Complete, 6)]).await;
        assert!(!poll_requested(&pool, &id).await);
        assert_eq!(history(&pool, &id).await, [(None, end), (Some(end), Complete)]);
    }
}

#[sqlx::test]
async fn an_outdated_poll_reverts_nothing(pool: PgPool) {
    let payload = |status: &str, credits: i64| json!({"status": status, "credits_charged": credits, "name": status});
    record(
        &pool,
        &[observation(
            "video.completed",
            &json!({"id": "a", "status": "complete", "credits_charged": 450, "name": "complete"}),
            at(1),
        )],
    )
    .await;
    for (status, seconds) in [(Queued, 5), (Rendering, 6), (Error, 7)] {
        let results = record(&pool, &[polled("a", &payload(status.as_str(), 500), at(seconds))]).await;
        assert_eq!((results[0].transition, results[0].changed), (None, false), "{status}");
    }
    let row: (String, Option<String>, Option<i64>) =
        sqlx::query_as("SELECT status, name, credits_charged FROM renders").fetch_one(&pool).await.unwrap();
    assert_eq!(row, ("complete".to_owned(), Some("complete".to_owned()), Some(450)));
}

/// The history of a render's credits: value, status, source.
async fn credits(pool: &PgPool, id: &str) -> Vec<(i64, Option<String>, String)> {
    let credits = "SELECT value, status, source FROM credits WHERE render_id = $1 ORDER BY credits.id";
    sqlx::query_as(credits).bind(id).fetch_all(pool).await.unwrap()
}

#[sqlx::test]
async fn the_history_of_credits_ignores_outdated_observations(pool: PgPool) {
    let observations = |id: &str| {
        let reported = |status: &str, credits: i64| json!({"id": id, "status": status, "credits_charged": credits});
        [
            polled(id, &reported("queued", 500), at(0)),
            observation("video.started", &reported("rendering", 500), at(1)),
            observation("video.started", &reported("rendering", 510), at(2)),
            observation("video.errored", &reported("error", 300), at(3)),
            // Neither is newer: one has an earlier status, the other an earlier time.
            observation("video.started", &reported("rendering", 999), at(9)),
            observation("video.errored", &reported("error", 998), at(2)),
            observation("video.errored", &json!({"id": id, "status": "error"}), at(4)),
            polled(id, &reported("error", 0), at(5)),
        ]
    };
    let entry = |value: i64, status: &str, source: &str| (value, Some(status.to_owned()), source.to_owned());
    let expected = [
        entry(500, "queued", "poll"),
        entry(510, "rendering", "webhook"),
        entry(300, "error", "webhook"),
        entry(0, "error", "poll"),
    ];
    record_each(&pool, &observations("one by one")).await;
    record(&pool, &observations("in one batch")).await;
    for id in ["one by one", "in one batch"] {
        assert_eq!(credits(&pool, id).await, expected, "{id}");
    }
}
