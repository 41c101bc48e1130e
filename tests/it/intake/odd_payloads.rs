//! Authentic payloads that differ from the documentation: none is lost, and none gets a 5xx.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::{TOKEN, signed};
use crate::support::raw::{exchange, get_render};
use crate::support::rows::{DeliveryRow, count, last_delivery};
use crate::support::{App, Options};

async fn start(pool: &PgPool) -> App {
    App::start_with(pool, Options::flags(&["--download-concurrency=0", "--max-body-bytes=4MiB"])).await
}

/// Posts a body, and checks that its bytes were stored unchanged. Returns the status of the answer and the stored row.
async fn deliver(app: &App, body: &[u8]) -> (u16, DeliveryRow) {
    let before = count(&app.pool, "deliveries").await;
    let answer = app.deliver(&signed(body)).await;
    let shown = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
    assert_eq!(count(&app.pool, "deliveries").await, before + 1, "{} for {shown}", answer.status);
    let row = last_delivery(&app.pool).await;
    assert!(row.body == body, "the bytes were changed: {shown}");
    (answer.status.as_u16(), row)
}

/// Checks that a body is accepted as an event: 200, stored, and its render can be requested.
async fn recorded_render(app: &App, body: impl AsRef<[u8]>) -> Value {
    let shown = String::from_utf8_lossy(&body.as_ref()[..body.as_ref().len().min(300)]).into_owned();
    let (status, row) = deliver(app, body.as_ref()).await;
    assert_eq!((status, row.outcome.as_str()), (200, "recorded"), "{shown}");
    let (status, render) = get_render(&app.base, row.render_id.as_deref().unwrap()).await;
    assert_eq!(status, 200, "{render} for {shown}");
    render
}

fn event(id: usize, rest: &str) -> String {
    format!(r#"{{"type":"video.completed","payload":{{"id":"clx-{id}"{rest}}}}}"#)
}

#[sqlx::test]
async fn a_field_of_the_wrong_type_is_ignored_and_the_others_are_recorded(pool: PgPool) {
    let app = start(&pool).await;
    let mut id = 0;
    let fields = ["name", "status", "type", "error", "credits_charged", "enabled", "created_at", "downloads", "new"];
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_map = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let values = [
        "null",
        "true",
        "7",
        "-7.5",
        "1e999",
        "-1e999",
        "123456789012345678901234567890",
        r#""""#,
        r#""text""#,
        r#""a\u0000b""#,
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        "[]",
        "{}",
        "[null]",
        r#"[{"url":null}]"#,
        r#"{"code":"\u0000","message":"\ud83d"}"#,
        r#"{"\u0000":1,"\ud800":{"\u0000":"\u0000"}}"#,
        &deep,
        &deep_map,
    ];
    for field in fields {
        for value in values {
            id += 1;
            let render = recorded_render(&app, event(id, &format!(r#","{field}":{value}"#))).await;
            assert_eq!((&render["status"], &render["id"]), (&json!("complete"), &json!(format!("clx-{id}"))));
        }
    }
    let bare = recorded_render(&app, event(0, "")).await;
    assert_eq!(
        (&bare["name"], &bare["deleted"], &bare["archive"]),
        (&Value::Null, &json!(false), &json!("awaiting_urls"))
    );
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_date_that_is_out_of_range_is_ignored(pool: PgPool) {
    let app = start(&pool).await;
    let dates = [
        "0000-01-01T00:00:00Z",
        "0000-01-01T00:00:00+23:59",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-23:59",
        "2016-12-31T23:59:60Z",
        "2024-02-30T00:00:00Z",
        "+262142-12-31T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "2024-10-19T05:16:19.123456789123Z",
        "2024-10-19",
    ];
    for (id, date) in dates.into_iter().enumerate() {
        let downloads = format!(r#"[{{"url":"https://h/x","expires_at":"{date}"}}]"#);
        let render =
            recorded_render(&app, event(id, &format!(r#","created_at":"{date}","downloads":{downloads}"#))).await;
        assert_eq!(render["downloads"][0]["state"], "pending", "{date}");
        assert!(render["created_at"].is_string(), "{date}");
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn invalid_entries_of_downloads_keep_their_index(pool: PgPool) {
    let app = start(&pool).await;
    let odd = r#","downloads":[null,7,"https://h/2",{"url":"no url"},{"url":"https://h/\u0000"},{"url":["x"]},{"url":"data:,x"}]"#;
    let render = recorded_render(&app, event(1, odd)).await;
    let states: Vec<_> =
        render["downloads"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["failed", "failed", "pending", "failed", "pending", "failed", "pending"]);

    let many: Vec<_> = (0..2000).map(|at| json!({"url": format!("https://h/{at}.png")})).collect();
    let render = recorded_render(&app, event(2, &format!(r#","downloads":{}"#, json!(many)))).await;
    assert_eq!((render["downloads"].as_array().unwrap().len(), &render["archive"]), (2000, &json!("pending")));
    assert_eq!(render["downloads"][1999]["index"], 1999);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn more_than_ten_thousand_downloads_get_400_and_the_body_is_stored(pool: PgPool) {
    let app = start(&pool).await;
    let with = |id: usize, count: usize| event(id, &format!(r#","downloads":[{}]"#, vec!["null"; count].join(",")));
    let render = recorded_render(&app, with(1, 10_000)).await;
    assert_eq!((render["downloads"].as_array().unwrap().len(), &render["archive"]), (10_000, &json!("failed")));
    let (status, row) = deliver(&app, with(2, 10_001).as_bytes()).await;
    assert_eq!((status, row.outcome.as_str()), (400, "unreadable"));
    assert_eq!(app.get("/renders").await.status(), 200, "the list does not fail because of one render");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn long_names_and_large_bodies_are_stored_completely(pool: PgPool) {
    let app = start(&pool).await;
    let name = "ы".repeat(512 << 10);
    let render = recorded_render(&app, event(1, &format!(r#","name":"{name}""#))).await;
    assert!(render["name"] == name.as_str(), "the name was cut");
    let code = "c".repeat(1 << 20);
    let body = event(2, &format!(r#","error":{{"code":"{code}"}}"#)).replace("completed", "errored");
    let render = recorded_render(&app, body).await;
    assert!(render["error"]["code"] == code.as_str(), "the error was cut");
    let url = format!("https://h/{}", "u".repeat(1 << 20));
    recorded_render(&app, event(3, &format!(r#","downloads":[{{"url":"{url}"}}]"#))).await;
    app.stop().await.unwrap();
}

/// Ids that a URL, a header, a file name, JSON or SQL could misread.
const ODD_IDS: [&str; 30] = [
    "a/b",
    "/",
    "//",
    ".",
    "..",
    "../..",
    "%2f",
    "%2F%2e",
    "%00",
    "%",
    "?",
    "#",
    "a b",
    " ",
    "\u{1}",
    "\u{7f}",
    "é",
    "e\u{301}",
    "\u{202e}x",
    "😀",
    "\u{feff}",
    "\\",
    "\"",
    "'",
    "';--",
    "${x}",
    "*",
    "+",
    "&=",
    "\u{10ffff}",
];

#[sqlx::test]
async fn every_accepted_id_can_be_requested(pool: PgPool) {
    let app = start(&pool).await;
    let (longest, wide) = ("x".repeat(255), "😀".repeat(255));
    let ids = ODD_IDS.into_iter().chain([longest.as_str(), &wide]);
    for id in ids.clone() {
        let body = json!({"type": "video.completed", "payload": {"id": id, "downloads": [{"url": "https://h/x"}]}});
        let render = recorded_render(&app, body.to_string()).await;
        assert_eq!(render["id"], id);
        let url = render["downloads"][0]["url"].as_str().unwrap();
        let request = format!("GET {url} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
        assert_eq!(exchange(&app.base, request).await.unwrap().status, 409, "{url} for {id:?}");
    }
    assert_eq!(count(&pool, "renders").await, i64::try_from(ids.count()).unwrap());
    for id in [String::new(), "x".repeat(256), "я".repeat(256)] {
        let body = json!({"type": "video.completed", "payload": {"id": id}}).to_string();
        let (status, row) = deliver(&app, body.as_bytes()).await;
        assert_eq!((status, row.outcome.as_str()), (400, "unreadable"), "{} bytes", id.len());
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn invalid_utf8_is_replaced_except_in_an_id(pool: PgPool) {
    let app = start(&pool).await;
    let table: [(&[u8], &str); 4] = [
        (br#"{"\u0000":1,"type":"video.started","\ud800":2,"payload":{"id":"g","\u0000":"\u0000"}}"#, "g"),
        (br#"{"type":"image.started","type":"video.started","payload":{"id":"h"},"payload":{"id":"i","id":"j"}}"#, "j"),
        (b" \n{\"type\" :\t\"video.started\", \"payload\": {\"id\":\"k\"}}\r\n ", "k"),
        ("{\"type\":\"video.started\",\"payload\":{\"id\":\"l\u{fffd}\"}}".as_bytes(), "l\u{fffd}"),
    ];
    for (body, id) in table {
        assert_eq!(recorded_render(&app, body).await["id"], id);
    }
    // If they were replaced in ids, different ids would become equal.
    let broken: [&[u8]; 3] = [
        br#"{"type":"video.started","payload":{"id":"a\u0000b"}}"#,
        br#"{"type":"video.started","payload":{"id":"c\ud800d"}}"#,
        b"{\"type\":\"video.started\",\"payload\":{\"id\":\"e\xfff\"}}",
    ];
    for body in broken {
        let (status, row) = deliver(&app, body).await;
        assert_eq!((status, row.outcome.as_str()), (400, "unreadable"), "{}", String::from_utf8_lossy(body));
    }
    // A type with a character that Postgres cannot store is unknown.
    for body in [r#"{"type":"\u0000","payload":{"id":"x"}}"#, r#"{"type":"video.\ud800\u0000","payload":{"id":"x"}}"#] {
        let (status, row) = deliver(&app, body.as_bytes()).await;
        assert_eq!((status, row.outcome.as_str()), (200, "unknown"), "{body}");
    }
    // A raw U+0000 is invalid JSON, and so is a byte order mark.
    for body in [&b"{\"type\":\"video.started\",\"payload\":{\"id\":\"\0\"}}"[..], b"\0", b"\xff", b"\xef\xbb\xbf{}"] {
        assert_eq!(deliver(&app, body).await.0, 400);
    }
    app.stop().await.unwrap();
}
