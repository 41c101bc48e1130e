//! Renders with fewer files than Magic Hour announced.

use renderhook::domain::Kind;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::accounts::MagicHourAccounts;
use crate::support::{App, Options, until};

/// An image project that announces two images, with these files.
fn image(id: &str, files: &[&url::Url]) -> Value {
    let downloads: Vec<_> = files.iter().map(|url| json!({"url": url, "expires_at": null})).collect();
    json!({"id": id, "status": "complete", "type": "AI_IMAGE", "image_count": 2, "downloads": downloads})
}

async fn send(app: &App, project: &Value) {
    let event = json!({"type": format!("{}.completed", Kind::Image), "payload": project});
    assert_eq!(app.post(event.to_string().as_bytes()).await.status, 200);
}

/// The types of a render's events, once one of them ends it.
async fn events_until_end(app: &App, id: &str) -> Vec<String> {
    until("the end of the render to be reported", || async {
        let answer: Value = app.get("/events").await.json().await.unwrap();
        let events = answer["events"].as_array().unwrap().iter().filter(|event| event["render_id"] == id);
        let types: Vec<_> = events.map(|event| event["type"].as_str().unwrap().to_owned()).collect();
        types.iter().any(|it| it == "render.ready" || it == "render.incomplete").then_some(types)
    })
    .await
}

#[sqlx::test]
async fn a_render_with_fewer_images_than_announced_is_polled_and_then_incomplete(pool: PgPool) {
    let magic_hour = MagicHourAccounts::start(&["key"]).await;
    let app = App::start_with(&pool, Options { flags: magic_hour.flags("key"), ..Options::default() }).await;
    let file = app.files.put("one.png", b"1".to_vec(), "image/png").unwrap();
    magic_hour.put("key", "short", &image("short", &[&file]));
    send(&app, &image("short", &[&file])).await;
    let types = events_until_end(&app, "short").await;
    assert_eq!(types, ["render.moved", "render.incomplete"]);
    assert_eq!(magic_hour.calls("short").len(), 1, "asked once");
    let render = app.render("short").await;
    assert_eq!((&render["archive"], &render["image_count"]), (&json!("partial"), &json!(2)));
    let waited = app.get("/renders/short?wait=60s").await;
    assert_eq!(waited.status(), 200, "it is finished, so nobody waits");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_poll_that_lists_the_missing_image_makes_the_render_ready(pool: PgPool) {
    let magic_hour = MagicHourAccounts::start(&["key"]).await;
    let app = App::start_with(&pool, Options { flags: magic_hour.flags("key"), ..Options::default() }).await;
    let one = app.files.put("one.png", b"1".to_vec(), "image/png").unwrap();
    let two = app.files.put("two.png", b"2".to_vec(), "image/png").unwrap();
    magic_hour.put("key", "late", &image("late", &[&one, &two]));
    send(&app, &image("late", &[&one])).await;
    let types = events_until_end(&app, "late").await;
    assert_eq!(types.last().map(String::as_str), Some("render.ready"));
    assert!(!types.iter().any(|it| it == "render.incomplete"), "{types:?}");
    assert_eq!(app.render("late").await["archive"], "stored");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_shortage_of_a_render_that_magic_hour_does_not_know_is_reported(pool: PgPool) {
    let magic_hour = MagicHourAccounts::start(&["key"]).await;
    let app = App::start_with(&pool, Options { flags: magic_hour.flags("key"), ..Options::default() }).await;
    let file = app.files.put("one.png", b"1".to_vec(), "image/png").unwrap();
    send(&app, &image("deleted", &[&file])).await;
    assert_eq!(events_until_end(&app, "deleted").await, ["render.moved", "render.incomplete"]);
    let render = app.render("deleted").await;
    assert_eq!((&render["archive"], render["not_found_at"].is_string()), (&json!("partial"), true), "{render}");
    assert_eq!(app.get("/renders/deleted?wait=60s").await.status(), 200, "it is finished, so nobody waits");
    assert_eq!(magic_hour.calls("deleted").len(), 1, "asked once");

    // If the files come after all, they are stored, and the render is reported again.
    let two = app.files.put("two.png", b"2".to_vec(), "image/png").unwrap();
    send(&app, &image("deleted", &[&file, &two])).await;
    app.archived("deleted", "stored").await;
    let types = events_until_end(&app, "deleted").await;
    assert_eq!(types.last().map(String::as_str), Some("render.ready"));
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn without_an_api_key_a_shortage_is_reported_at_once(pool: PgPool) {
    let app = App::start(&pool).await;
    let file = app.files.put("one.png", b"1".to_vec(), "image/png").unwrap();
    send(&app, &image("alone", &[&file])).await;
    assert_eq!(events_until_end(&app, "alone").await.last().map(String::as_str), Some("render.incomplete"));
    assert_eq!(app.render("alone").await["archive"], "partial");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn the_external_id_comes_from_the_name_until_the_application_sets_it(pool: PgPool) {
    let app = App::start_with(&pool, Options::flags(&["--external-id-pattern=^order-(\\d+)"])).await;
    let started = |name: &str| json!({"type": "video.started", "payload": {"id": "x", "name": name}}).to_string();
    assert_eq!(app.post(started("order-17 of today").as_bytes()).await.status, 200);
    assert_eq!(app.render("x").await["external_id"], "17");
    let body = json!({"kind": "video", "external_id": null}).to_string();
    let put = app.client.put(app.at("/renders/x")).bearer_auth(crate::support::app::TOKEN).body(body);
    assert_eq!(put.send().await.unwrap().status(), 200);
    assert_eq!(app.post(started("order-18").as_bytes()).await.status, 200);
    assert_eq!(app.render("x").await["external_id"], Value::Null, "the application has removed it");
    app.stop().await.unwrap();
}
