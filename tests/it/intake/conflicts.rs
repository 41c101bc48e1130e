//! Words against each other: what stands, what moves, and what Magic Hour is asked about.

use renderhook::domain::render::Status::{self, Canceled, Complete, Error, Queued, Rendering};
use renderhook::intake::record::{Observation, StatusChange};
use serde_json::json;
use sqlx::PgPool;

use crate::support::words::{at, history, polled, record, record_each, telling, word};

fn poll(id: &str, status: Status, seconds: i64) -> Observation {
    polled(id, &json!({"status": status}), at(seconds))
}

fn webhook(id: &str, status: Status, seconds: i64) -> Observation {
    telling(id, Some(status), at(seconds))
}

async fn is_wanted(pool: &PgPool, id: &str) -> bool {
    sqlx::query_scalar("SELECT poll_requested FROM renders WHERE id = $1").bind(id).fetch_one(pool).await.unwrap()
}

/// The reconciler has had its answer.
async fn answered(pool: &PgPool, id: &str) {
    let answered = "UPDATE renders SET poll_requested = false, poll_due_at = NULL WHERE id = $1";
    sqlx::query(answered).bind(id).execute(pool).await.unwrap();
}

#[sqlx::test]
async fn every_status_told_by_a_poll_after_every_other_moves_as_the_pure_rules_say(pool: PgPool) {
    for before in Status::ALL {
        for said in Status::ALL {
            for way in ["in two calls", "in one slice"] {
                let id = format!("{before}-{said}-{way}");
                let words = [webhook(&id, before, 1), poll(&id, said, 2)];
                let told =
                    if way == "in one slice" { record(&pool, &words).await } else { record_each(&pool, &words).await };
                let to = Status::after_poll(Some(before), said);
                let expected = to.map(|to| StatusChange { from: Some(before), to });
                assert_eq!(told[1].transition, expected, "{id}");
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
async fn a_failure_and_a_cancelation_make_one_question_and_its_answer_stands(pool: PgPool) {
    for (first, second) in [(Error, Canceled), (Canceled, Error)] {
        for (answer, path) in [(first, vec![(None, first)]), (second, vec![(None, first), (Some(first), second)])] {
            let id = format!("{first}-{second}-{answer}");
            record(&pool, &[webhook(&id, first, 1)]).await;
            assert!(!is_wanted(&pool, &id).await, "{id}: nobody contradicts yet");
            let told = record(&pool, &[webhook(&id, second, 2)]).await;
            assert_eq!((told[0].transition, told[0].previous_failure), (None, Some(first)), "{id}: the first stands");
            assert!(is_wanted(&pool, &id).await, "{id}");

            record(&pool, &[poll(&id, answer, 3)]).await;
            answered(&pool, &id).await;
            assert_eq!(history(&pool, &id).await, path, "{id}");
            // It is settled: no contradiction moves it, and nobody asks again.
            let later = [webhook(&id, first, 4), webhook(&id, second, 5), poll(&id, first, 6), poll(&id, second, 7)];
            for told in record_each(&pool, &later).await {
                assert_eq!(told.transition, None, "{id}");
            }
            assert!(!is_wanted(&pool, &id).await, "{id}");
            assert_eq!(history(&pool, &id).await, path, "{id}");
        }
    }
}

#[sqlx::test]
async fn both_ends_in_one_slice_make_the_same_question(pool: PgPool) {
    record(&pool, &[webhook("new", Error, 1), webhook("new", Canceled, 1)]).await;
    assert!(is_wanted(&pool, "new").await);
    record(&pool, &[webhook("known", Rendering, 1)]).await;
    record(&pool, &[webhook("known", Canceled, 2), webhook("known", Error, 2)]).await;
    assert!(is_wanted(&pool, "known").await);
    // With the answer in the same slice nothing is left to ask.
    record(&pool, &[webhook("told", Error, 1), webhook("told", Canceled, 1), poll("told", Canceled, 2)]).await;
    assert!(!is_wanted(&pool, "told").await);
    assert_eq!(history(&pool, "told").await, [(None, Error), (Some(Error), Canceled)]);
}

#[sqlx::test]
async fn a_render_that_is_complete_after_all_is_asked_about_once_more(pool: PgPool) {
    for end in [Error, Canceled] {
        let id = end.to_string();
        record(&pool, &[webhook(&id, end, 1)]).await;
        let payload = json!({"status": "complete", "id": id, "downloads": [{"url": "https://files.example/a.mp4"}]});
        let told = record(&pool, &[word("video.completed", &payload, at(2))]).await;
        assert_eq!(
            (told[0].transition, told[0].previous_failure),
            (Some(StatusChange { from: Some(end), to: Complete }), Some(end))
        );
        assert!(is_wanted(&pool, &id).await);
        // Complete is complete, whatever the answer is.
        let told = record(&pool, &[poll(&id, end, 3)]).await;
        assert_eq!(told[0].transition, None);
        answered(&pool, &id).await;
        record_each(&pool, &[webhook(&id, Error, 4), webhook(&id, Canceled, 5), webhook(&id, Complete, 6)]).await;
        assert!(!is_wanted(&pool, &id).await);
        assert_eq!(history(&pool, &id).await, [(None, end), (Some(end), Complete)]);
    }
}

#[sqlx::test]
async fn a_poll_that_is_behind_moves_nothing_back_and_takes_no_newer_word_back(pool: PgPool) {
    let told = |status: &str, credits: i64| json!({"status": status, "credits_charged": credits, "name": status});
    record(
        &pool,
        &[word(
            "video.completed",
            &json!({"id": "a", "status": "complete", "credits_charged": 450, "name": "complete"}),
            at(1),
        )],
    )
    .await;
    for (status, seconds) in [(Queued, 5), (Rendering, 6), (Error, 7)] {
        let told = record(&pool, &[polled("a", &told(status.as_str(), 500), at(seconds))]).await;
        assert_eq!((told[0].transition, told[0].changed), (None, false), "{status}");
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
async fn the_credits_keep_their_history_and_an_older_word_is_none_of_it(pool: PgPool) {
    let words = |id: &str| {
        let said = |status: &str, credits: i64| json!({"id": id, "status": status, "credits_charged": credits});
        [
            polled(id, &said("queued", 500), at(0)),
            word("video.started", &said("rendering", 500), at(1)),
            word("video.started", &said("rendering", 510), at(2)),
            word("video.errored", &said("error", 300), at(3)),
            // Said later about an earlier status, and said earlier: neither is newer.
            word("video.started", &said("rendering", 999), at(9)),
            word("video.errored", &said("error", 998), at(2)),
            word("video.errored", &json!({"id": id, "status": "error"}), at(4)),
            polled(id, &said("error", 0), at(5)),
        ]
    };
    let entry = |value: i64, status: &str, source: &str| (value, Some(status.to_owned()), source.to_owned());
    let expected = [
        entry(500, "queued", "poll"),
        entry(510, "rendering", "webhook"),
        entry(300, "error", "webhook"),
        entry(0, "error", "poll"),
    ];
    record_each(&pool, &words("one by one")).await;
    record(&pool, &words("in one slice")).await;
    for id in ["one by one", "in one slice"] {
        assert_eq!(credits(&pool, id).await, expected, "{id}");
    }
}
