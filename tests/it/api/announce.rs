//! `PUT /renders/{id}`: announcing renders.

use futures::future::join_all;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::{TOKEN, video};
use crate::support::observations::{at, completed, record, status_report};
use crate::support::rows::count;
use crate::support::{App, Options};

async fn start(pool: &PgPool) -> App {
    App::start_with(pool, Options::flags(&["--download-concurrency=0"])).await
}

async fn put(app: &App, id: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let request = app.client.put(app.at(&format!("renders/{id}"))).bearer_auth(TOKEN).body(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn put_json(app: &App, id: &str, body: Value) -> (u16, Value) {
    put(app, id, body.to_string()).await
}

#[sqlx::test]
async fn an_announced_render_is_found_by_its_external_id(pool: PgPool) {
    let app = start(&pool).await;
    let metadata = json!({"user": {"id": 7, "tags": ["a", null, 1.5, true]}});
    let body = json!({"kind": "image", "external_id": "order-17", "metadata": metadata});
    let (status, returned) = put_json(&app, "clx", body.clone()).await;
    assert_eq!(status, 201, "{returned}");
    assert_eq!(returned, app.render("clx").await);
    let expected = json!({
        "id": "clx", "kind": "image", "status": null, "external_id": "order-17", "metadata": metadata,
        "archive": "none", "downloads": [], "transitions": []
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&returned[name], value, "{name}");
    }
    let found = app.get("/renders?external_id=order-17").await.json::<Value>().await.unwrap();
    let mut listed = returned.clone();
    listed.as_object_mut().unwrap().shift_remove("notifications");
    assert_eq!(found, json!({"renders": [listed], "next_cursor": null}));

    // Repeating the announcement changes nothing.
    assert_eq!(put_json(&app, "clx", body).await, (200, returned));
    assert_eq!(count(&pool, "renders").await, 1);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn omitted_fields_stay_and_null_removes_the_external_id(pool: PgPool) {
    let app = start(&pool).await;
    let named = async |body: Value| {
        let (_, returned) = put_json(&app, "clx", body).await;
        (returned["external_id"].clone(), returned["metadata"].clone())
    };
    let one = (json!("one"), json!({"a": 1}));
    assert_eq!(named(json!({"kind": "video", "external_id": "one", "metadata": {"a": 1}})).await, one);
    assert_eq!(named(json!({"kind": "video"})).await, one);
    assert_eq!(named(json!({"kind": "video", "external_id": "two"})).await, (json!("two"), json!({"a": 1})));
    assert_eq!(named(json!({"kind": "video", "metadata": {"b": 2}})).await, (json!("two"), json!({"b": 2})));
    assert_eq!(named(json!({"kind": "video", "external_id": null})).await, (Value::Null, json!({"b": 2})));
    assert_eq!(named(json!({"kind": "video", "metadata": {}})).await, (Value::Null, json!({})));
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn events_and_announcements_do_not_overwrite_each_others_fields(pool: PgPool) {
    let app = start(&pool).await;
    let body = json!({"kind": "video", "external_id": "order-17", "metadata": {"a": 1}});
    assert_eq!(put_json(&app, "announced", body.clone()).await.0, 201);
    let mut project = video("announced", "complete");
    project.name = Some("A name".to_owned());
    for id in ["announced", "reported"] {
        project.id = id.to_owned();
        app.send("video.completed", &project).await;
    }
    let (status, reported) = put_json(&app, "reported", body).await;
    assert_eq!(status, 200, "{reported}");
    for render in [reported, app.render("announced").await] {
        assert_eq!(
            [&render["status"], &render["name"], &render["external_id"], &render["metadata"]],
            [&json!("complete"), &json!("A name"), &json!("order-17"), &json!({"a": 1})]
        );
        assert_eq!(render["transitions"].as_array().unwrap().len(), 1);
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn the_kind_can_be_corrected_until_magic_hour_reports_the_render(pool: PgPool) {
    let app = start(&pool).await;
    assert_eq!(put_json(&app, "clx", json!({"kind": "video", "external_id": "one"})).await.0, 201);
    let (status, returned) = put_json(&app, "clx", json!({"kind": "audio"})).await;
    assert_eq!((status, &returned["kind"], &returned["external_id"]), (200, &json!("audio"), &json!("one")));

    // One render with a status, and one with an event that had no status.
    record(&pool, &[completed("known", &[], None, at(1)), status_report("unknown", None, at(1))]).await;
    for id in ["known", "unknown"] {
        let before = app.render(id).await;
        let (status, returned) = put_json(&app, id, json!({"kind": "image", "external_id": "two"})).await;
        assert_eq!((status, returned["message"].as_str().unwrap().contains("kind")), (409, true), "{returned}");
        assert_eq!(app.render(id).await, before);
        assert_eq!(put_json(&app, id, json!({"kind": "video", "external_id": "two"})).await.0, 200);
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn concurrent_announcements_create_a_render_once(pool: PgPool) {
    let app = start(&pool).await;
    let body = json!({"kind": "video", "external_id": "one"});
    let mut statuses: Vec<_> = join_all((0..8).map(|_| put_json(&app, "clx", body.clone())))
        .await
        .into_iter()
        .map(|returned| returned.0)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[200].repeat(7), vec![201]].concat());
    app.stop().await.unwrap();
}

/// Bodies, and what the message about each says.
const INVALID: [(&str, &str); 20] = [
    ("", "EOF"),
    ("kind=video", "expected value"),
    ("null", "invalid type: null"),
    ("{}", "missing field `kind`"),
    (r#"{"kind": null}"#, "invalid type: null"),
    (r#"{"kind": "model"}"#, "`kind` must be one of video, image, audio"),
    (r#"{"kind": "Video"}"#, "`kind` must be one of"),
    (r#"{"kind": "video", "kind": "image"}"#, "duplicate field `kind`"),
    (r#"{"kind": "video", "status": "complete"}"#, "unknown field `status`"),
    (r#"{"kind": "video", "external_id": ""}"#, "`external_id` must be 1 to 255 characters"),
    (r#"{"kind": "video", "external_id": 17}"#, "invalid type: integer `17`"),
    (r#"{"kind": "video", "external_id": "a\u0000b"}"#, "`external_id` must be"),
    (r#"{"kind": "video", "metadata": null}"#, "`metadata` must be an object"),
    (r#"{"kind": "video", "metadata": "text"}"#, "`metadata` must be an object"),
    (r#"{"kind": "video", "metadata": []}"#, "`metadata` must be an object"),
    (r#"{"kind": "video", "metadata": {"a": "\u0000"}}"#, "`metadata` must not contain U+0000"),
    (r#"{"kind": "video", "metadata": {"a": [{"\u0000": 1}]}}"#, "`metadata` must not contain U+0000"),
    (r#"{"kind": "video", "metadata": {"a": "\ud800"}}"#, "hex escape"),
    (r#"{"kind": "video", "metadata": {"a": 1e999}}"#, "number out of range"),
    (r#"{"kind": "video"} {}"#, "trailing characters"),
];

#[sqlx::test]
async fn an_invalid_announcement_is_rejected_and_changes_nothing(pool: PgPool) {
    let app = start(&pool).await;
    let deep = format!(r#"{{"kind": "video", "metadata": {{"a": {}1{}}}}}"#, "[".repeat(200), "]".repeat(200));
    let wide = |length: usize| json!({"kind": "video", "metadata": {"a": "x".repeat(length - r#"{"a":""}"#.len())}});
    let external_id = json!({"kind": "video", "external_id": "я".repeat(256)}).to_string();
    let metadata = wide(16385).to_string();
    let large = [
        (external_id.as_str(), "`external_id` must be"),
        (&metadata, "`metadata` must be at most 16384 bytes of JSON, but has 16385"),
        (&deep, "recursion limit"),
    ];
    for (body, problem) in INVALID.into_iter().chain(large) {
        let (status, returned) = put(&app, "clx", body.to_owned()).await;
        assert_eq!((status, returned.as_object().unwrap().len()), (400, 1), "{body}: {returned}");
        assert!(returned["message"].as_str().unwrap().contains(problem), "{body}: {returned}");
    }
    let (status, returned) = put(&app, "clx", b"{\"kind\": \"video\", \"external_id\": \"\xff\"}".to_vec()).await;
    assert_eq!(status, 400, "{returned}");
    assert_eq!(put(&app, "clx", " ".repeat(65537)).await.0, 413);
    let long = "x".repeat(256);
    for id in ["%00", "%ff", &long] {
        let (status, returned) = put_json(&app, id, json!({"kind": "video"})).await;
        assert_eq!((status, returned["message"].as_str().unwrap().contains("id")), (400, true), "{id}: {returned}");
    }
    let stranger = app.client.put(app.at("renders/clx")).body(r#"{"kind": "video"}"#).send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    assert_eq!(count(&pool, "renders").await, 0);

    // The largest valid metadata, with a wrong content type.
    let body = wide(16384).to_string();
    let request = app.client.put(app.at("renders/clx")).bearer_auth(TOKEN).header(CONTENT_TYPE, "text/plain");
    assert_eq!(request.body(body).send().await.unwrap().status(), 201);
    let name = "😀".repeat(255);
    assert_eq!(put_json(&app, "clx", json!({"kind": "video", "external_id": name})).await.0, 200);
    assert_eq!(app.render("clx").await["metadata"], wide(16384)["metadata"]);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn metadata_is_returned_byte_for_byte(pool: PgPool) {
    let app = start(&pool).await;
    let metadata = r#"{"n": 1.7976931348623157e308, "m": 232.90821219048374, "k": 123456789012345678901234567890, "z":1.50, "a": "é"}"#;
    let (status, _) = put(&app, "exact", format!(r#"{{"kind": "video", "metadata": {metadata}}}"#)).await;
    assert_eq!(status, 201);
    for path in ["/renders/exact", "/renders", "/renders?kind=video"] {
        let answer = app.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(&format!(r#""metadata":{metadata},"#)), "{path}: {text}");
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn an_unreadable_row_is_omitted_from_the_list_and_the_others_are_shown(pool: PgPool) {
    let app = start(&pool).await;
    for id in ["good", "odd"] {
        assert_eq!(put_json(&app, id, json!({"kind": "video"})).await.0, 201);
    }
    sqlx::query("ALTER TABLE credits DROP CONSTRAINT credits_source_known").execute(&pool).await.unwrap();
    sqlx::query("INSERT INTO credits (render_id, value, source, at) VALUES ('odd', 1, 'a newer version', now())")
        .execute(&pool)
        .await
        .unwrap();
    let list = app.get("/renders").await;
    assert_eq!(list.status(), 200);
    let list: Value = list.json().await.unwrap();
    let ids: Vec<_> = list["renders"].as_array().unwrap().iter().map(|render| render["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["good"]);
    assert_eq!(app.get("/renders/odd").await.status(), 503);
    app.stop().await.unwrap();
}
