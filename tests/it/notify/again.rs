//! Sending notifications again, and checking the receiver.

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::{TOKEN, video};
use crate::support::process::{database_url, renderhook};
use crate::support::receiver::{Reaction, Receiver};
use crate::support::{App, Options, until};

async fn start(pool: &PgPool, receiver: &Receiver) -> App {
    App::start_with(pool, Options { flags: receiver.flags(), ..Options::default() }).await
}

async fn fail(app: &App, id: &str) {
    assert_eq!(app.send("video.errored", &video(id, "error")).await.status, 200);
}

async fn in_state(pool: &PgPool, state: &str, count: i64) {
    until(&format!("{count} notifications to be {state}"), || async {
        let counted = sqlx::query_scalar("SELECT count(*) FROM notifications WHERE state = $1").bind(state);
        (counted.fetch_one(pool).await.ok() == Some(count)).then_some(())
    })
    .await;
}

async fn notify(app: &App, id: &str) -> (StatusCode, Value) {
    let request = app.client.post(app.at(&format!("/renders/{id}/notify"))).bearer_auth(TOKEN);
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[sqlx::test]
async fn the_api_sends_the_notifications_of_a_render_again_with_the_same_ids(pool: PgPool) {
    let receiver = Receiver::start().await;
    let app = start(&pool, &receiver).await;
    fail(&app, "clx").await;
    fail(&app, "other").await;
    in_state(&pool, "delivered", 2).await;
    let (status, answer) = notify(&app, "clx").await;
    let received = receiver.wait_for(3).await;
    let first = received.iter().find(|it| it.render_id() == "clx").unwrap();
    assert_eq!((status, &answer["notifications"]), (StatusCode::OK, &json!([first.id])));
    assert_eq!((&received[2].id, received[2].render_id()), (&first.id, "clx"));
    assert_eq!(notify(&app, "nobody").await.0, StatusCode::NOT_FOUND);
    app.stop().await.unwrap();

    let without_url = App::start(&pool).await;
    assert_eq!(notify(&without_url, "clx").await.0, StatusCode::CONFLICT);
    without_url.stop().await.unwrap();
}

#[sqlx::test]
async fn the_command_sends_failed_notifications_again(pool: PgPool) {
    let receiver = Receiver::start().await;
    receiver.react(&[Reaction::Status(410)]);
    let app = start(&pool, &receiver).await;
    fail(&app, "refused").await;
    in_state(&pool, "failed", 1).await;
    fail(&app, "accepted").await;
    in_state(&pool, "delivered", 1).await;
    let run = async |flags: &[&str]| {
        let mut command = renderhook(&["notify"]);
        command.env("DATABASE_URL", database_url(&pool).as_str()).args(receiver.flags()).args(flags);
        let output = command.output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    let (code, lines) = run(&["--failed", "--dry-run"]).await;
    assert_eq!((code, lines.last().map(String::as_str)), (Some(0), Some("1 notification would be sent again")));
    assert!(lines[0].starts_with("msg_") && lines[0].ends_with(" render.failed refused"), "{lines:?}");
    assert_eq!(receiver.received().len(), 2);

    let (code, lines) = run(&["--failed"]).await;
    assert_eq!((code, lines.last().map(String::as_str)), (Some(0), Some("1 notification put back in the queue")));
    in_state(&pool, "delivered", 2).await;
    assert_eq!(run(&["--since", "1h"]).await.1.len(), 3, "both, and the summary");
    assert_eq!(run(&["--render", "nobody"]).await.0, Some(1));
    assert_eq!(run(&[]).await.0, Some(2));
    let without_url =
        renderhook(&["notify", "--failed"]).env("DATABASE_URL", database_url(&pool).as_str()).output().await;
    assert_eq!(without_url.unwrap().status.code(), Some(2));
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn check_posts_a_signed_test_message(pool: PgPool) {
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    let line = async || {
        let mut command = renderhook(&["check"]);
        command
            .env("DATABASE_URL", database_url(&pool).as_str())
            .args(["--magic-hour-webhook-secret=s", "--api-tokens=t", "--magic-hour-api-url=http://127.0.0.1:1"])
            .arg(format!("--storage-url=file://{}", folder.path().display()))
            .args(receiver.flags());
        let output = String::from_utf8(command.output().await.unwrap().stdout).unwrap();
        output.lines().find(|line| line.contains(" notifications ")).unwrap().to_owned()
    };
    let accepted = line().await;
    assert!(accepted.starts_with("ok") && accepted.contains("accepted a signed renderhook.test"), "{accepted}");
    assert_eq!(receiver.received()[0].kind(), "renderhook.test");
    receiver.react(&[Reaction::Status(401)]);
    let refused = line().await;
    assert!(refused.starts_with("FAIL") && refused.contains("HTTP 401: the answer"), "{refused}");
}
