//! `renderhook replay`: what an earlier version could not read is read by this one.

use chrono::TimeDelta;
use renderhook::runtime::Clock;
use sqlx::PgPool;

use crate::support::process::{database_url, renderhook};
use crate::support::words::counts;

/// A delivery as an earlier version kept it.
async fn kept(pool: &PgPool, outcome: &str, body: &str, hours: i64) {
    let at = Clock::system().now() - TimeDelta::hours(hours);
    let problem = matches!(outcome, "unreadable" | "stale").then_some("as it was then");
    sqlx::query(
        "INSERT INTO deliveries (received_at, sent_at, lag_ms, body, outcome, problem) VALUES ($1, $1, 7, $2, $3, $4)",
    )
    .bind(at)
    .bind(body.as_bytes())
    .bind(outcome)
    .bind(problem)
    .execute(pool)
    .await
    .unwrap();
}

async fn replay(pool: &PgPool, flags: &[&str]) -> String {
    let mut command = renderhook(&["replay"]);
    let done = command.args(flags).env("DATABASE_URL", database_url(pool).as_str()).output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

async fn outcomes(pool: &PgPool) -> Vec<(String, Option<String>, Option<String>)> {
    sqlx::query_as("SELECT outcome, render_id, problem FROM deliveries ORDER BY id").fetch_all(pool).await.unwrap()
}

#[sqlx::test]
async fn what_was_kept_is_recorded_once_in_its_order_and_what_is_still_not_known_stays(pool: PgPool) {
    let event = |kind: &str, action: &str, id: &str, status: &str| {
        format!(r#"{{"type":"{kind}.{action}","payload":{{"id":"{id}","status":"{status}","credits_charged":5}}}}"#)
    };
    kept(&pool, "unreadable", "not JSON", 5).await;
    kept(&pool, "unknown", &event("video", "started", "a", "rendering"), 4).await;
    kept(&pool, "unreadable", &event("video", "errored", "a", "error"), 3).await;
    kept(&pool, "unknown", &event("model", "completed", "m", "complete"), 3).await;
    kept(&pool, "unknown", &event("audio", "archived", "b", "archived"), 2).await;
    kept(&pool, "stale", &event("image", "completed", "c", "complete"), 2).await;
    kept(&pool, "unknown", &event("image", "started", "new", "rendering"), 0).await;
    let before = outcomes(&pool).await;

    let told = replay(&pool, &["--dry-run"]).await;
    assert!(
        told.ends_with("6 deliveries replayed: 3 would be recorded, 2 still unknown, 1 still unreadable\n"),
        "{told}"
    );
    assert!(told.contains("still unreadable: the body is not a JSON object"), "{told}");
    assert_eq!((outcomes(&pool).await, counts(&pool).await), (before, (0, 0, 7, 0)));

    let told = replay(&pool, &["--since", "1h"]).await;
    assert!(told.ends_with("1 delivery replayed: 1 recorded, 0 still unknown, 0 still unreadable\n"), "{told}");
    assert_eq!(counts(&pool).await, (1, 1, 7, 0));

    let told = replay(&pool, &[]).await;
    assert!(told.contains("video.errored a: recorded; the render is now error"), "{told}");
    assert!(told.ends_with("5 deliveries replayed: 2 recorded, 2 still unknown, 1 still unreadable\n"), "{told}");
    let expected = [
        ("unreadable", None, Some("as it was then")),
        ("recorded", Some("a"), None),
        ("recorded", Some("a"), None),
        ("unknown", Some("m"), None),
        ("unknown", Some("b"), None),
        ("stale", None, Some("as it was then")),
        ("recorded", Some("new"), None),
    ];
    let expected =
        expected.map(|(outcome, id, problem)| (outcome.to_owned(), id.map(str::to_owned), problem.map(str::to_owned)));
    assert_eq!(outcomes(&pool).await, expected);
    let moves: Vec<(String, Option<String>, Option<i64>)> =
        sqlx::query_as("SELECT to_status, event_type, lag_ms FROM transitions WHERE render_id = 'a' ORDER BY id")
            .fetch_all(&pool)
            .await
            .unwrap();
    let moved = |status: &str, event: &str| (status.to_owned(), Some(event.to_owned()), Some(7));
    assert_eq!(moves, [moved("rendering", "video.started"), moved("error", "video.errored")]);

    // Once more, and twice at once: nothing.
    let all = counts(&pool).await;
    let (one, two) = tokio::join!(replay(&pool, &[]), replay(&pool, &[]));
    assert!(
        one.ends_with("3 deliveries replayed: 0 recorded, 2 still unknown, 1 still unreadable\n") && one == two,
        "{one}{two}"
    );
    assert_eq!(counts(&pool).await, all);
    assert_eq!(outcomes(&pool).await, expected);
}

#[sqlx::test]
async fn a_body_that_was_pruned_is_passed_over(pool: PgPool) {
    kept(&pool, "unreadable", "", 1).await;
    sqlx::query("UPDATE deliveries SET body = NULL").execute(&pool).await.unwrap();
    assert_eq!(replay(&pool, &[]).await, "0 deliveries replayed: 0 recorded, 0 still unknown, 0 still unreadable\n");
}
