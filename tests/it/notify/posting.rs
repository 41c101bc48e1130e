//! What is posted, and what follows from the replies.

use renderhook::runtime::Clock;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::video;
use crate::support::receiver::{Reaction, Received, Receiver};
use crate::support::{App, Options, until};

async fn start(pool: &PgPool, receiver: &Receiver, flags: &[&str]) -> App {
    let mut options = Options::flags(flags);
    options.flags.extend(receiver.flags());
    App::start_with(pool, options).await
}

/// Records that a render failed.
async fn fail(app: &App, id: &str) {
    assert_eq!(app.send("video.errored", &video(id, "error")).await.status, 200);
}

/// Waits until the only notification of a render is in a state.
async fn settled(app: &App, id: &str, state: &str) -> Value {
    until(&format!("the notification to be {state}"), || async {
        let notification = app.render(id).await["notifications"][0].take();
        (notification["state"] == state).then_some(notification)
    })
    .await
}

/// Makes every pending notification due now.
async fn make_all_due(pool: &PgPool) {
    let now = Clock::system().now();
    let updated = sqlx::query("UPDATE notifications SET due_at = $1 WHERE lease IS NULL AND due_at > $1");
    updated.bind(now).execute(pool).await.unwrap();
}

#[sqlx::test]
async fn a_stored_render_is_posted_as_get_shows_it(pool: PgPool) {
    let receiver = Receiver::start().await;
    let app = start(&pool, &receiver, &[]).await;
    let mut project = video("clx", "complete");
    project.downloads = vec![app.files.put("clx/output.mp4", b"bytes".to_vec(), "video/mp4").unwrap()];
    assert_eq!(app.send("video.completed", &project).await.status, 200);
    let received = receiver.wait_for(1).await;
    let notification = settled(&app, "clx", "delivered").await;
    let mut render = app.render("clx").await;
    render.as_object_mut().unwrap().remove("notifications");
    assert_eq!(received[0].body["data"], render);
    assert_eq!((received[0].kind(), &render["archive"]), ("render.ready", &json!("stored")));
    assert_eq!(
        (&notification["id"], &notification["type"], &notification["attempts"], &notification["error"]),
        (&json!(received[0].id), &json!("render.ready"), &json!(1), &Value::Null)
    );
    assert!(notification["delivered_at"].is_string() && notification["next_attempt_at"].is_null());
    assert_eq!(receiver.received().len(), 1);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn an_error_is_retried_with_the_same_id_until_it_is_accepted(pool: PgPool) {
    let receiver = Receiver::start().await;
    receiver.react(&[Reaction::Status(500), Reaction::Redirect]);
    let app = start(&pool, &receiver, &[]).await;
    fail(&app, "clx").await;
    receiver.wait_for(1).await;
    let waiting = until("the error", || async {
        let notification = app.render("clx").await["notifications"][0].take();
        notification["error"].is_string().then_some(notification)
    })
    .await;
    assert_eq!((&waiting["state"], &waiting["error"]), (&json!("pending"), &json!("HTTP 500: the answer")));
    assert!(waiting["next_attempt_at"].is_string());

    let updated = until("the third request", || async {
        make_all_due(&pool).await;
        Some(receiver.received()).filter(|received| received.len() >= 3)
    })
    .await;
    settled(&app, "clx", "delivered").await;
    assert!(updated.iter().all(|it| it.id == updated[0].id && it.kind() == "render.failed"));
    assert!(updated.iter().all(|it| it.timestamp >= updated[0].timestamp));
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn retry_after_is_honored_and_410_ends_it(pool: PgPool) {
    let receiver = Receiver::start().await;
    receiver.react(&[Reaction::RetryAfter(503, 7200), Reaction::Status(410)]);
    let app = start(&pool, &receiver, &[]).await;
    fail(&app, "clx").await;
    receiver.wait_for(1).await;
    let waiting = until("the next attempt to be later", || async {
        let statement = "SELECT due_at - now() BETWEEN '115 minutes' AND '121 minutes' FROM notifications WHERE state = 'pending' AND lease IS NULL";
        sqlx::query_scalar::<_, Option<bool>>(statement).fetch_optional(&pool).await.unwrap().flatten()
    })
    .await;
    assert!(waiting, "Retry-After was not honored");
    make_all_due(&pool).await;
    let failed = settled(&app, "clx", "failed").await;
    assert_eq!(
        (&failed["attempts"], &failed["error"], &failed["next_attempt_at"]),
        (&json!(2), &json!("HTTP 410: the answer"), &Value::Null)
    );
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn notifications_of_a_render_are_posted_one_at_a_time_and_in_order(pool: PgPool) {
    let receiver = Receiver::start().await;
    receiver.react(&[Reaction::Status(500)]);
    let app = start(&pool, &receiver, &["--notify-events=render.moved,render.failed"]).await;
    fail(&app, "clx").await;
    let posted = until("three requests", || async {
        make_all_due(&pool).await;
        Some(receiver.received()).filter(|received| received.len() >= 3)
    })
    .await;
    let kinds: Vec<_> = posted.iter().map(Received::kind).collect();
    assert_eq!(kinds, ["render.moved", "render.moved", "render.failed"]);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn one_render_that_is_refused_holds_up_no_other(pool: PgPool) {
    let receiver = Receiver::start().await;
    receiver.react(&[Reaction::Status(500)]);
    let app = start(&pool, &receiver, &[]).await;
    fail(&app, "first").await;
    receiver.wait_for(1).await;
    fail(&app, "second").await;
    let received = receiver.wait_for(2).await;
    assert_eq!(received[1].render_id(), "second");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_notification_that_is_too_old_has_failed(pool: PgPool) {
    let receiver = Receiver::start().await;
    receiver.react_always(Reaction::Status(500));
    let app = start(&pool, &receiver, &["--notify-max-age=1h"]).await;
    fail(&app, "clx").await;
    receiver.wait_for(1).await;
    let aged = "UPDATE notifications SET pending_since = pending_since - interval '1 hour'";
    sqlx::query(aged).execute(&pool).await.unwrap();
    until("the notification to fail", || async {
        make_all_due(&pool).await;
        (app.render("clx").await["notifications"][0]["state"] == "failed").then_some(())
    })
    .await;
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn without_a_url_nothing_is_posted_and_the_feed_has_everything(pool: PgPool) {
    let app = App::start(&pool).await;
    fail(&app, "clx").await;
    assert_eq!(app.render("clx").await["notifications"], json!([]));
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM notifications").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 2, "moved and failed");
    app.stop().await.unwrap();
}
