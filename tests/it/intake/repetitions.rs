//! Repetitions of a captured request cannot fill the disk.

use renderhook::intake::MAX_STORED_REPETITIONS;
use renderhook::runtime::Clock;
use sqlx::PgPool;

use crate::support::app::{signed, signed_at, video};
use crate::support::rows::count;
use crate::support::{App, Options};

#[sqlx::test]
async fn repetitions_of_a_request_are_stored_up_to_a_limit_and_always_answered(pool: PgPool) {
    let app = App::start_with(&pool, Options::flags(&["--download-concurrency=0"])).await;
    let most = i64::from(MAX_STORED_REPETITIONS);
    let long_ago = Clock::system().now().timestamp() - 86_400;
    let table = [
        (200, signed(&video("known", "complete").event("video.completed"))),
        (200, signed(br#"{"type":"model.completed","payload":{"id":"of an unknown kind"}}"#)),
        (400, signed(b"not JSON")),
        (401, signed_at(long_ago, &video("stale", "complete").event("video.completed"))),
    ];
    for (number, (status, captured)) in (1..).zip(table) {
        for _ in 0..most + 10 {
            assert_eq!(app.deliver(&captured).await.status.as_u16(), status);
        }
        assert_eq!(count(&pool, "deliveries").await, number * most, "{status}");
    }
    // The same event in another request is stored.
    app.deliver(&signed(&video("known", "complete").event("video.completed"))).await;
    assert_eq!(count(&pool, "deliveries").await, 4 * most + 1);
    app.stop().await.unwrap();
}
