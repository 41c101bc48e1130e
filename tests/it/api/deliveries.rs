//! `GET /deliveries` and `GET /deliveries/{id}`.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::{signed, signed_at, video};
use crate::support::{App, Options};

async fn start(pool: &PgPool) -> App {
    App::start_with(pool, Options::flags(&["--download-concurrency=0"])).await
}

async fn get(app: &App, path: &str) -> (u16, Value) {
    let answer = app.get(path).await;
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// The deliveries of all pages, newest first.
async fn pages(app: &App, query: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = get(app, &format!("/deliveries?{query}&limit={limit}{cursor}")).await;
        assert_eq!(status, 200, "{page}");
        all.extend(page["deliveries"].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else { return all };
        assert!(page["deliveries"].as_array().unwrap().len() == limit && !all.is_empty());
        cursor = format!("&cursor={next}");
    }
}

/// Sends one delivery of each outcome, in the order of the result.
async fn send_each(app: &App) -> [&'static str; 6] {
    let started = video("one", "rendering").event("video.started");
    let completed = video("one", "complete").event("video.completed");
    for (body, status) in [(&started, 200), (&completed, 200), (&started, 200)] {
        assert_eq!(app.post(body).await.status, status);
    }
    assert_eq!(app.post(br#"{"type": "video.dreamed", "payload": {"id": "two"}}"#).await.status, 200);
    assert_eq!(app.post(b"no json: \xff https://h/p?hush").await.status, 400);
    let long_ago = signed_at(1_700_000_000, &video("three", "complete").event("video.completed"));
    assert_eq!(app.deliver(&long_ago).await.status, 401);
    ["recorded", "recorded", "duplicate", "unknown", "unreadable", "stale"]
}

#[sqlx::test]
async fn deliveries_are_listed_newest_first_with_what_became_of_them(pool: PgPool) {
    let app = start(&pool).await;
    assert_eq!(get(&app, "/deliveries").await, (200, json!({"deliveries": [], "next_cursor": null})));
    let mut outcomes = send_each(&app).await.to_vec();
    outcomes.reverse();
    for limit in [1, 2, 4, 6, 200] {
        let all = pages(&app, "", limit).await;
        assert_eq!(all.iter().map(|it| it["outcome"].as_str().unwrap()).collect::<Vec<_>>(), outcomes, "{limit}");
    }
    let all = pages(&app, "", 200).await;
    let fields: Vec<_> = all[0].as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected =
        ["id", "received_at", "sent_at", "lag_ms", "event_type", "render_id", "outcome", "problem", "size_bytes"];
    expected.sort_unstable();
    assert_eq!(fields.len(), expected.len());
    assert!(expected.iter().all(|name| fields.contains(name)), "{fields:?}");
    let [stale, unreadable, .., first] = &all[..] else { panic!("{all:?}") };
    assert_eq!(stale["problem"], "signed outside the tolerance");
    assert!(stale["lag_ms"].as_i64().unwrap() > 1_000_000_000, "{stale}");
    assert_eq!((&unreadable["render_id"], &unreadable["event_type"]), (&Value::Null, &Value::Null));
    assert_eq!((&first["render_id"], &first["event_type"]), (&json!("one"), &json!("video.started")));
    assert_eq!(first["problem"], Value::Null);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn filters_can_be_combined_and_followed_in_pages(pool: PgPool) {
    let app = start(&pool).await;
    let all = send_each(&app).await;
    for outcome in ["recorded", "duplicate", "late", "unknown", "unreadable", "stale"] {
        let found = pages(&app, &format!("outcome={outcome}"), 1).await;
        assert!(found.iter().all(|it| it["outcome"] == outcome), "{found:?}");
        assert_eq!(found.len(), all.iter().filter(|it| **it == outcome).count(), "{outcome}");
    }
    assert_eq!(pages(&app, "render_id=one", 2).await.len(), 3);
    assert_eq!(pages(&app, "render_id=one&outcome=duplicate", 1).await.len(), 1);
    assert_eq!(pages(&app, "render_id=one&outcome=stale", 1).await.len(), 0);
    assert_eq!(pages(&app, "render_id=unheard", 1).await.len(), 0);
    for (query, name) in [
        ("outcome=lost", "outcome"),
        ("outcome=", "outcome"),
        ("render_id=", "render_id"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("cursor=-1", "cursor"),
        ("cursor=%2B1", "cursor"),
        ("cursor=9308060468740353259", "cursor"),
        ("state=stale", "state"),
    ] {
        let (status, answer) = get(&app, &format!("/deliveries?{query}")).await;
        assert!(status == 400 && answer["message"].as_str().unwrap().contains(name), "{query}: {answer}");
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_delivery_has_its_body_without_the_queries_of_urls(pool: PgPool) {
    let app = start(&pool).await;
    let body = r#"{"type": "video.started", "payload": {"id": "x", "status": "rendering", "n": 1.0e0,
        "downloads": [{"url": "https:\/\/h\/a.mp4?sig=hush\u0026b=hush", "note": "see HTTP://h/b?hush, why?"}]}}"#;
    let shown = body.replace(r"?sig=hush\u0026b=hush", "?redacted").replace("?hush,", "?redacted");
    assert_eq!(app.deliver(&signed(body.as_bytes())).await.status, 200);
    assert_eq!(app.post(b"no json: \xff https://h/p?hush").await.status, 400);
    let (_, list) = get(&app, "/deliveries").await;
    let ids: Vec<_> = list["deliveries"].as_array().unwrap().iter().map(|it| it["id"].as_i64().unwrap()).collect();

    let (status, whole) = get(&app, &format!("/deliveries/{}", ids[1])).await;
    assert_eq!((status, whole["body"].as_str()), (200, Some(shown.as_str())));
    assert_eq!(whole["size_bytes"], body.len());
    let mut listed = list["deliveries"][1].clone();
    listed["body"] = whole["body"].clone();
    assert_eq!(whole, listed, "and the fields of the list");
    let (_, other) = get(&app, &format!("/deliveries/{}", ids[0])).await;
    assert_eq!((&other["body"], &other["size_bytes"]), (&json!("no json: \u{fffd} https://h/p?redacted"), &json!(27)));

    sqlx::query("UPDATE deliveries SET body = NULL").execute(&pool).await.unwrap();
    let (_, erased) = get(&app, &format!("/deliveries/{}", ids[0])).await;
    assert_eq!((&erased["body"], &erased["size_bytes"]), (&Value::Null, &Value::Null));
    for unknown in ["0", "-1", "x", "99999999999999999999", "%FF", &(ids[0] + 1000).to_string()] {
        let (status, answer) = get(&app, &format!("/deliveries/{unknown}")).await;
        assert_eq!((status, answer["message"].as_str().unwrap().contains("no delivery")), (404, true), "{unknown}");
    }
    app.stop().await.unwrap();
}
