//! Recording in the database follows the status rules of the domain.

use renderhook::domain::Status::{self, Canceled, Complete, Error, Queued, Rendering};
use renderhook::intake::{RecordOutcome, StatusChange};
use serde_json::json;
use sqlx::PgPool;

use crate::support::observations::{at, counts, history, observation, record, record_each, status_report};

/// What was observed of a render before: nothing, an event without a status, or a status.
type Before = Option<Option<Status>>;

fn befores() -> impl Iterator<Item = Before> {
    [None, Some(None)].into_iter().chain(Status::ALL.map(|status| Some(Some(status))))
}

/// The expected result of `reported` after `before`, according to the pure rule.
fn expected(before: Before, reported: Status) -> (RecordOutcome, Option<StatusChange>) {
    let from = before.flatten();
    let moves = Status::after_webhook(from, reported).map(|to| StatusChange { from, to });
    let is_known = matches!(reported, Rendering | Error | Complete);
    let outcome = match from {
        _ if moves.is_some() => RecordOutcome::Recorded,
        Some(from) if from == reported => RecordOutcome::Duplicate,
        _ if !is_known => RecordOutcome::Unknown,
        Some(from) if from.rank() > reported.rank() => RecordOutcome::Late,
        // A failure of a canceled render: the status stays, but the event is recorded.
        _ => RecordOutcome::Recorded,
    };
    (outcome, moves)
}

async fn status_and_end(pool: &PgPool, id: &str) -> (Option<Status>, bool) {
    let (status, finished): (Option<String>, bool) =
        sqlx::query_as("SELECT status, finished FROM renders WHERE id = $1").bind(id).fetch_one(pool).await.unwrap();
    (status.map(|status| status.parse().unwrap()), finished)
}

#[sqlx::test]
async fn every_pair_of_statuses_follows_the_pure_rule(pool: PgPool) {
    for (before, row) in befores().zip(0..) {
        for reported in Status::ALL {
            for way in ["in two calls", "in one batch"] {
                let id = format!("{row}-{reported}-{way}");
                let mut observations: Vec<_> = before.iter().map(|&status| status_report(&id, status, at(1))).collect();
                observations.push(status_report(&id, Some(reported), at(2)));
                let recorded = if way == "in one batch" {
                    record(&pool, &observations).await
                } else {
                    record_each(&pool, &observations).await
                };

                let case = format!("{before:?}, then {reported} {way}");
                let (outcome, moves) = expected(before, reported);
                let results = recorded.last().map(|it| (it.outcome, it.transition, it.previous_failure, it.queued));
                let from = before.flatten();
                let stood = from.filter(|from| [Error, Canceled].contains(from));
                assert_eq!(results, Some((outcome, moves, stood, 0)), "{case}");
                let status = Status::after_webhook(from, reported).or(from);
                let finished = status.is_some_and(Status::is_finished);
                assert_eq!(status_and_end(&pool, &id).await, (status, finished), "{case}");
                let first = from.map(|from| (None, from));
                let chain: Vec<_> =
                    first.into_iter().chain(moves.map(|StatusChange { from, to }| (from, to))).collect();
                assert_eq!(history(&pool, &id).await, chain, "{case}");
            }
        }
    }
}

#[sqlx::test]
async fn the_first_of_error_and_canceled_stays_until_the_render_is_complete(pool: PgPool) {
    for (first, second) in [(Error, Canceled), (Canceled, Error)] {
        let observations = |id: &str| {
            [first, second, first, Complete, second].map(|reported| status_report(id, Some(reported), at(1)))
        };
        let (one_by_one, batch) = (format!("{first} one by one"), format!("{first} in one batch"));
        record_each(&pool, &observations(&one_by_one)).await;
        record(&pool, &observations(&batch)).await;
        for id in [one_by_one, batch] {
            assert_eq!(history(&pool, &id).await, [(None, first), (Some(first), Complete)], "{id}");
        }
    }
}

#[sqlx::test]
async fn a_batch_returns_a_result_for_each_observation(pool: PgPool) {
    let observations = [
        status_report("a", Some(Queued), at(1)),
        status_report("b", Some(Complete), at(1)),
        status_report("a", Some(Rendering), at(2)),
        status_report("b", Some(Rendering), at(2)),
        status_report("a", Some(Rendering), at(3)),
        status_report("a", None, at(3)),
        status_report("b", Some(Complete), at(3)),
    ];
    let results: Vec<_> = record(&pool, &observations)
        .await
        .into_iter()
        .map(|it| (it.outcome, it.transition.map(|it| (it.from, it.to))))
        .collect();
    let expected = [
        (RecordOutcome::Recorded, Some((None, Queued))),
        (RecordOutcome::Recorded, Some((None, Complete))),
        (RecordOutcome::Recorded, Some((Some(Queued), Rendering))),
        (RecordOutcome::Late, None),
        (RecordOutcome::Duplicate, None),
        (RecordOutcome::Unknown, None),
        (RecordOutcome::Duplicate, None),
    ];
    assert_eq!(results, expected);

    let stored: Vec<(String, String)> =
        sqlx::query_as("SELECT render_id, outcome FROM deliveries ORDER BY id").fetch_all(&pool).await.unwrap();
    let stored: Vec<_> = stored.iter().map(|(id, outcome)| (id.as_str(), outcome.as_str())).collect();
    let ids = ["a", "b", "a", "b", "a", "a", "b"];
    let outcomes = ["recorded", "recorded", "recorded", "late", "duplicate", "unknown", "duplicate"];
    assert_eq!(stored, ids.into_iter().zip(outcomes).collect::<Vec<_>>());
}

#[sqlx::test]
async fn a_duplicate_is_detected_by_id_and_type_even_after_the_deliveries_are_removed(pool: PgPool) {
    record(&pool, &[status_report("a", Some(Rendering), at(1))]).await;
    sqlx::query("DELETE FROM deliveries").execute(&pool).await.unwrap();
    let again = [status_report("a", Some(Rendering), at(500)), status_report("b", Some(Rendering), at(500))];
    let outcomes: Vec<_> = record(&pool, &again).await.into_iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [RecordOutcome::Duplicate, RecordOutcome::Recorded]);
}

#[sqlx::test]
async fn an_event_about_an_unknown_kind_is_only_stored(pool: PgPool) {
    let model = observation("model.completed", &json!({"id": "m", "status": "complete"}), at(1));
    let known = status_report("v", Some(Rendering), at(1));
    let recorded = record(&pool, &[model.clone(), known, model]).await;
    let outcomes: Vec<_> = recorded.iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [RecordOutcome::Unknown, RecordOutcome::Recorded, RecordOutcome::Unknown]);
    assert_eq!(counts(&pool).await, (1, 1, 3, 0));
}

#[sqlx::test]
async fn a_transition_has_its_source_and_lag(pool: PgPool) {
    record(&pool, &[status_report("a", Some(Rendering), at(1))]).await;
    let row: (String, Option<String>, chrono::DateTime<chrono::Utc>, Option<i64>) =
        sqlx::query_as("SELECT source, event_type, at, lag_ms FROM transitions").fetch_one(&pool).await.unwrap();
    assert_eq!(row, ("webhook".into(), Some("video.started".into()), crate::support::observations::now(), Some(0)));
}
