//! `renderhook replay` records deliveries that an earlier version did not understand.

use chrono::TimeDelta;
use renderhook::runtime::Clock;
use sqlx::PgPool;

use crate::support::observations::counts;
use crate::support::process::{database_url, renderhook};

/// Stores a delivery like an earlier version did.
async fn store_delivery(pool: &PgPool, outcome: &str, body: &str, hours: i64) {
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

async fn transitions(pool: &PgPool, id: &str) -> Vec<(String, Option<String>, Option<i64>)> {
    let rows = "SELECT to_status, event_type, lag_ms FROM transitions WHERE render_id = $1 ORDER BY transitions.id";
    sqlx::query_as(rows).bind(id).fetch_all(pool).await.unwrap()
}

/// Stores seven deliveries: three that can be recorded now, three that cannot, and a stale one.
async fn store_deliveries(pool: &PgPool) {
    let event = |kind: &str, action: &str, id: &str, status: &str| {
        format!(r#"{{"type":"{kind}.{action}","payload":{{"id":"{id}","status":"{status}","credits_charged":5}}}}"#)
    };
    store_delivery(pool, "unreadable", "not JSON", 5).await;
    store_delivery(pool, "unknown", &event("video", "started", "a", "rendering"), 4).await;
    store_delivery(pool, "unreadable", &event("video", "errored", "a", "error"), 3).await;
    store_delivery(pool, "unknown", &event("model", "completed", "m", "complete"), 3).await;
    store_delivery(pool, "unknown", &event("audio", "archived", "b", "archived"), 2).await;
    store_delivery(pool, "stale", &event("image", "completed", "c", "complete"), 2).await;
    store_delivery(pool, "unknown", &event("image", "started", "new", "rendering"), 0).await;
}

#[sqlx::test]
async fn a_dry_run_says_what_would_be_recorded_and_changes_nothing(pool: PgPool) {
    store_deliveries(&pool).await;
    let before = outcomes(&pool).await;

    let output = replay(&pool, &["--dry-run"]).await;
    assert!(
        output.ends_with("6 deliveries replayed: 3 would be recorded, 2 still unknown, 1 still unreadable\n"),
        "{output}"
    );
    assert!(output.contains("still unreadable: the body is not a JSON object"), "{output}");
    assert_eq!((outcomes(&pool).await, counts(&pool).await), (before, (0, 0, 7, 0)));
}

#[sqlx::test]
async fn replayed_deliveries_are_recorded_once_in_order_and_unknown_ones_stay(pool: PgPool) {
    store_deliveries(&pool).await;
    let output = replay(&pool, &["--since", "1h"]).await;
    assert!(output.ends_with("1 delivery replayed: 1 recorded, 0 still unknown, 0 still unreadable\n"), "{output}");
    assert_eq!(counts(&pool).await, (1, 1, 7, 0));

    let output = replay(&pool, &[]).await;
    assert!(output.contains("video.errored a: recorded; the render is now error"), "{output}");
    assert!(output.ends_with("5 deliveries replayed: 2 recorded, 2 still unknown, 1 still unreadable\n"), "{output}");
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
    let moved = |status: &str, event: &str| (status.to_owned(), Some(event.to_owned()), Some(7));
    assert_eq!(transitions(&pool, "a").await, [moved("rendering", "video.started"), moved("error", "video.errored")]);

    // Replaying again, and twice at once, changes nothing.
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
async fn a_delivery_with_an_erased_body_is_skipped(pool: PgPool) {
    store_delivery(&pool, "unreadable", "", 1).await;
    sqlx::query("UPDATE deliveries SET body = NULL").execute(&pool).await.unwrap();
    assert_eq!(replay(&pool, &[]).await, "0 deliveries replayed: 0 recorded, 0 still unknown, 0 still unreadable\n");
}
