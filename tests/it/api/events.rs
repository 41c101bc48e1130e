//! `GET /events`: the feed over HTTP.

use renderhook::runtime::Clock;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::App;
use crate::support::app::{TOKEN, video};

async fn send(app: &App, event_type: &str, id: &str, status: &str) {
    assert_eq!(app.send(event_type, &video(id, status)).await.status, 200);
}

/// Stores a render with one file.
async fn store(app: &App) -> Value {
    let mut project = video("clx", "complete");
    project.downloads = vec![app.files.put("clx/output.mp4", b"bytes".to_vec(), "video/mp4").unwrap()];
    assert_eq!(app.send("video.completed", &project).await.status, 200);
    app.archived("clx", "stored").await
}

async fn page(app: &App, query: &str) -> Value {
    let answer = app.get(&format!("/events?{query}")).await;
    assert_eq!(answer.status(), 200, "{query}");
    answer.json().await.unwrap()
}

/// The types and renders of a page.
fn events(page: &Value) -> Vec<(&str, &str)> {
    let events = page["events"].as_array().unwrap().iter();
    events.map(|event| (event["type"].as_str().unwrap(), event["render_id"].as_str().unwrap())).collect()
}

#[sqlx::test]
async fn following_the_cursors_returns_every_event_once_and_in_order(pool: PgPool) {
    let app = App::start(&pool).await;
    send(&app, "video.started", "a", "rendering").await;
    send(&app, "video.errored", "b", "error").await;
    send(&app, "video.errored", "a", "error").await;
    let expected = [
        ("render.moved", "a"),
        ("render.moved", "b"),
        ("render.failed", "b"),
        ("render.moved", "a"),
        ("render.failed", "a"),
    ];
    let whole = page(&app, "").await;
    assert_eq!(events(&whole), expected);
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    for _ in 0..3 {
        let page = page(&app, &format!("limit=2{cursor}")).await;
        seen.extend(page["events"].as_array().unwrap().clone());
        cursor = format!("&after={}", page["next_cursor"].as_str().unwrap());
    }
    assert_eq!(seen, *whole["events"].as_array().unwrap());
    let end = page(&app, &cursor[1..]).await;
    assert_eq!((&end["events"], end["next_cursor"].as_str()), (&json!([]), cursor.strip_prefix("&after=")));
    let third = page(&app, &format!("after={}", seen[1]["cursor"].as_str().unwrap())).await;
    assert_eq!(third["events"][0], seen[2], "the cursor of an event continues after it");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn an_event_has_the_render_as_it_is_now_and_what_happened(pool: PgPool) {
    let app = App::start(&pool).await;
    let mut render = store(&app).await;
    render.as_object_mut().unwrap().remove("notifications");
    let page = page(&app, "types=render.moved,download.stored,download.failed,render.ready").await;
    assert_eq!(events(&page), [("render.moved", "clx"), ("download.stored", "clx"), ("render.ready", "clx")]);
    let of = |index: usize, field: &str| page["events"][index][field].clone();
    assert_eq!(of(0, "transition"), json!({ "from": null, "to": "complete" }));
    assert_eq!((of(1, "index"), of(2, "index"), of(2, "transition")), (json!(0), Value::Null, Value::Null));
    assert!((0..3).all(|index| of(index, "data") == render));
    assert!(of(2, "id").as_str().unwrap().starts_with("msg_"));
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn the_default_types_are_those_that_can_be_posted(pool: PgPool) {
    let app = App::start(&pool).await;
    store(&app).await;
    assert_eq!(events(&page(&app, "").await), [("render.moved", "clx"), ("render.ready", "clx")]);
    assert_eq!(events(&page(&app, "types=render.ready").await), [("render.ready", "clx")]);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn an_empty_answer_is_held_until_something_happens(pool: PgPool) {
    let app = App::start(&pool).await;
    let held = app.client.get(app.at("/events?wait=60s&types=render.failed")).bearer_auth(TOKEN).send();
    let held = tokio::spawn(held);
    send(&app, "video.started", "clx", "rendering").await;
    send(&app, "video.errored", "clx", "error").await;
    let page: Value = held.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(events(&page), [("render.failed", "clx")]);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn an_expired_cursor_is_410_and_an_invalid_parameter_400(pool: PgPool) {
    let app = App::start(&pool).await;
    send(&app, "video.errored", "clx", "error").await;
    let first = page(&app, "limit=1").await["next_cursor"].as_str().unwrap().to_owned();
    send(&app, "video.errored", "other", "error").await;
    let later = Clock::system().now() + chrono::TimeDelta::seconds(1);
    assert_eq!(renderhook::feed::remove_old(&pool, later, 3).await.unwrap(), 3);
    assert_eq!(app.get(&format!("/events?after={first}")).await.status(), 410);
    assert_eq!(events(&page(&app, "").await), [("render.failed", "other")]);
    for query in [
        "after=x",
        "after=",
        "limit=0",
        "limit=1001",
        "types=",
        "types=render.lost",
        "wait=61s",
        "after=a&after=b",
        "kind=video",
    ] {
        let answer = app.get(&format!("/events?{query}")).await;
        assert_eq!(answer.status(), 400, "{query}");
    }
    assert_eq!(app.client.get(app.at("/events")).send().await.unwrap().status(), 401);
    app.stop().await.unwrap();
}
