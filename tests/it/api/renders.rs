//! `GET /renders/{id}`, files, and health.

use std::time::Duration;

use chrono::{DateTime, Utc};
use renderhook::runtime::Clock;
use renderhook::runtime::Database;
use renderhook_dev::standin::Project;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::time::Instant;

use crate::support::app::{TOKEN, signed_at, video};
use crate::support::{App, Options};

const NOW: i64 = 1_800_000_000;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(NOW, 0).unwrap()
}

async fn start(pool: &PgPool, flags: &[&str]) -> App {
    App::start_with(pool, Options { clock: Some(Clock::from_fn(now)), ..Options::flags(flags) }).await
}

fn project(id: &str, status: &str) -> Project {
    Project { created_at: now(), ..video(id, status) }
}

async fn send_event(app: &App, event_type: &str, project: &Project) {
    assert_eq!(app.deliver(&signed_at(NOW, &project.event(event_type))).await.status, 200);
}

/// Creates a render with one stored file.
async fn stored(app: &App, id: &str, bytes: &[u8]) -> Value {
    let mut project = project(id, "complete");
    project.downloads = vec![app.files.put(&format!("{id}/output.mp4"), bytes.to_vec(), "video/mp4").unwrap()];
    send_event(app, "video.completed", &project).await;
    app.archived(id, "stored").await
}

/// The status and the message of an error.
async fn refused(app: &App, path: &str, authorization: Option<&str>) -> (u16, String) {
    let mut request = app.client.get(app.at(path));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json", "{path}");
    let (status, returned) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
    assert_eq!(returned.as_object().unwrap().len(), 1, "{returned}");
    (status, returned["message"].as_str().unwrap().to_owned())
}

#[sqlx::test]
async fn a_render_has_the_documented_fields_in_the_documented_order(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let mut started = project("clx1", "rendering");
    started.name = Some("A name".to_owned());
    send_event(&app, "video.started", &started).await;
    let render = stored(&app, "clx1", b"0123456789").await;
    let key = "video/clx1/0-output.mp4";
    let url = url::Url::from_file_path(app.folder.path().join(key)).unwrap();
    let expected = json!({
        "id": "clx1", "kind": "video", "status": "complete", "type": "FACE_SWAP", "name": null, "deleted": false,
        "external_id": null, "metadata": {}, "error": null, "credits_charged": 450,
        "credits": [{"value": 450, "status": "rendering", "source": "webhook", "at": "2027-01-15T08:00:00Z"}],
        "created_at": "2027-01-15T08:00:00Z", "updated_at": "2027-01-15T08:00:00Z", "not_found_at": null, "stalled_at": null,
        "width": 512, "height": 960, "fps": 30, "start_seconds": 0, "end_seconds": 15, "image_count": null,
        "links": {"magic_hour": "https://magichour.ai/my-library?videoId=clx1"}, "erased_at": null, "archive": "stored",
        "downloads": [{
            "index": 0, "state": "stored", "url": "/renders/clx1/downloads/0", "object": {"url": url, "key": key},
            "content_type": "video/mp4", "size_bytes": 10, "sha256": hex::encode(Sha256::digest(b"0123456789")),
            "stored_at": "2027-01-15T08:00:00Z", "attempts": 1, "progress": null, "next_attempt_at": null, "error": null
        }],
        "transitions": [
            {"from": null, "to": "rendering", "source": "webhook", "event": "video.started", "at": "2027-01-15T08:00:00Z", "lag_ms": 0},
            {"from": "rendering", "to": "complete", "source": "webhook", "event": "video.completed", "at": "2027-01-15T08:00:00Z", "lag_ms": 0}
        ],
        "notifications": []
    });
    // Compared as text, because the order of fields matters to people.
    assert_eq!(render.to_string(), expected.to_string());
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_failed_render_has_its_error_and_a_deleted_one_says_so(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let mut failed = project("clx2", "error");
    failed.error_code = Some("no_source_face".to_owned());
    failed.enabled = false;
    send_event(&app, "video.errored", &failed).await;
    let render = app.render("clx2").await;
    assert_eq!(render["error"], json!({"code": "no_source_face", "message": "It failed: no_source_face"}));
    assert_eq!(
        (&render["deleted"], &render["archive"], &render["downloads"]),
        (&json!(true), &json!("none"), &json!([]))
    );
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn requests_without_a_valid_token_are_rejected(pool: PgPool) {
    let app = start(&pool, &["--api-tokens=one, two", "--download-concurrency=0"]).await;
    send_event(&app, "video.started", &project("x", "rendering")).await;
    for path in ["renders/x", "renders/unknown", "renders/x/downloads/0"] {
        for wrong in
            [None, Some("Bearer three"), Some("Bearer "), Some("Basic one"), Some("one"), Some("Bearer one, two")]
        {
            let (status, sentence) = refused(&app, path, wrong).await;
            assert_eq!((status, sentence.contains("API_TOKENS")), (401, true), "{path} {wrong:?}: {sentence}");
        }
    }
    let with = |token: &'static str| app.client.get(app.at("renders/x")).bearer_auth(token).send();
    assert_eq!(with("one").await.unwrap().status(), 200);
    assert_eq!(with("two").await.unwrap().status(), 200);
    let challenge = app.client.get(app.at("renders/x")).send().await.unwrap();
    assert_eq!(challenge.headers()["www-authenticate"], "Bearer");

    let open = start(&pool, &["--api-tokens=none"]).await;
    assert_eq!(open.client.get(open.at("renders/x")).send().await.unwrap().status(), 200);
    app.stop().await.unwrap();
    open.stop().await.unwrap();
}

#[sqlx::test]
async fn what_is_unknown_gets_404(pool: PgPool) {
    let app = start(&pool, &["--download-concurrency=0"]).await;
    send_event(&app, "video.started", &project("x", "rendering")).await;
    let bearer = format!("Bearer {TOKEN}");
    let long = format!("renders/{}", "x".repeat(256));
    let nowhere = [
        "renders/unknown",
        "renders/%00",
        "renders/%ff",
        "renders/",
        "renders/a%2fb",
        &long,
        "renders/x/downloads/0",
        "renders/x/downloads/-1",
        "renders/x/downloads/one",
        "renders/x/downloads/99999999999",
        "renders/x/downloads/%00",
        "renders/x/downloads/%ff",
        "renders/%ff/downloads/0",
        "renders/unknown/downloads/0",
        "nothing",
        "",
        "renders/x/y",
    ];
    for path in nowhere {
        let (status, sentence) = refused(&app, path, Some(&bearer)).await;
        assert_eq!(status, 404, "{path}: {sentence}");
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_bad_parameter_gets_400(pool: PgPool) {
    let app = start(&pool, &["--download-concurrency=0"]).await;
    send_event(&app, "video.started", &project("x", "rendering")).await;
    let bearer = format!("Bearer {TOKEN}");
    for query in [
        "wait=61s",
        "wait=30",
        "wait=",
        "wait=-1s",
        "wait=soon",
        "wait=1s&wait=2s",
        "wait=%ff",
        "other=1",
        "wait=9999999999999999y",
    ] {
        let (status, sentence) = refused(&app, &format!("renders/x?{query}"), Some(&bearer)).await;
        assert_eq!(status, 400, "{query}: {sentence}");
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn wait_returns_when_the_render_is_finished_or_the_time_is_up(pool: PgPool) {
    let app = start(&pool, &[]).await;
    send_event(&app, "video.errored", &project("failed", "error")).await;
    send_event(&app, "video.canceled", &project("canceled", "canceled")).await;
    stored(&app, "stored", b"1").await;
    send_event(&app, "video.started", &project("slow", "rendering")).await;
    let wait = async |id: &str, wait: &str| {
        let begun = Instant::now();
        let render: Value = app.get(&format!("/renders/{id}?wait={wait}")).await.json().await.unwrap();
        (render["archive"].as_str().unwrap().to_owned(), begun.elapsed())
    };
    for id in ["failed", "canceled", "stored"] {
        assert!(wait(id, "60s").await.1 < Duration::from_secs(20), "{id}");
    }
    let (archive, took) = wait("slow", "2s").await;
    assert_eq!(
        (archive.as_str(), took >= Duration::from_secs(2), took < Duration::from_secs(20)),
        ("none", true, true),
        "{took:?}"
    );

    // It is answered when the last file is stored, not when the render becomes complete.
    let finish = async {
        tokio::task::yield_now().await;
        stored(&app, "slow", b"2").await
    };
    let ((archive, took), _) = tokio::join!(wait("slow", "60s"), finish);
    assert_eq!((archive.as_str(), took < Duration::from_secs(20)), ("stored", true), "{took:?}");
    app.stop().await.unwrap();
}

/// The headers of a request, and the status, text, and `Content-Range` of the answer.
type Row<'a> = (Vec<(&'a str, &'a str)>, u16, &'a str, Option<&'a str>);

fn requests_for_a_file(etag: &str) -> Vec<Row<'_>> {
    let other = "\"other\"";
    vec![
        (vec![], 200, "0123456789", None),
        (vec![("range", "bytes=2-4")], 206, "234", Some("bytes 2-4/10")),
        (vec![("range", "bytes=-3")], 206, "789", Some("bytes 7-9/10")),
        (vec![("range", "bytes=8-99")], 206, "89", Some("bytes 8-9/10")),
        (vec![("range", "bytes=0-1,3-4")], 200, "0123456789", None),
        (vec![("range", "bytes=2-4"), ("if-range", etag)], 206, "234", Some("bytes 2-4/10")),
        (vec![("range", "bytes=2-4"), ("if-range", other)], 200, "0123456789", None),
        (vec![("if-none-match", etag)], 304, "", None),
        (vec![("if-none-match", other)], 200, "0123456789", None),
        (vec![("range", "bytes=10-")], 416, "the range is outside the file", Some("bytes */10")),
    ]
}

#[sqlx::test]
async fn a_file_in_a_folder_is_sent_whole_or_in_part(pool: PgPool) {
    let app = start(&pool, &[]).await;
    stored(&app, "clx", b"0123456789").await;
    let etag = format!("\"{}\"", hex::encode(Sha256::digest(b"0123456789")));
    for method in [Method::GET, Method::HEAD] {
        for (headers, status, text, range) in requests_for_a_file(&etag) {
            let request = app.client.request(method.clone(), app.at("renders/clx/downloads/0")).bearer_auth(TOKEN);
            let with = |request: RequestBuilder, (name, value): &(&str, &str)| request.header(*name, *value);
            let answer = headers.iter().fold(request, with).send().await.unwrap();
            let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(answer.status(), status, "{method} {headers:?}");
            assert_eq!(header("content-range").as_deref(), range, "{method} {headers:?}");
            if status < 300 {
                assert_eq!(header("etag"), Some(etag.clone()));
                assert_eq!(header("content-type").as_deref(), Some("video/mp4"));
                assert_eq!(header("accept-ranges").as_deref(), Some("bytes"));
                assert_eq!(header("content-length"), Some(text.len().to_string()), "{method} {headers:?}");
            }
            let body = answer.text().await.unwrap();
            let message = json!({"message": text}).to_string();
            let expected = match (&method, status) {
                (&Method::HEAD, _) => "",
                (_, 416) => &message,
                _ => text,
            };
            assert_eq!(body, expected, "{method} {headers:?}");
        }
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_file_that_is_not_stored_gets_409_and_a_missing_object_503(pool: PgPool) {
    let app = start(&pool, &["--download-max-attempts=1"]).await;
    let mut failing = project("failing", "complete");
    failing.downloads = vec![app.at("nothing")];
    send_event(&app, "video.completed", &failing).await;
    app.archived("failing", "failed").await;
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(refused(&app, "renders/failing/downloads/0", Some(&bearer)).await.0, 409);

    stored(&app, "gone", b"1").await;
    std::fs::remove_file(app.folder.path().join("video/gone/0-output.mp4")).unwrap();
    let (status, sentence) = refused(&app, "renders/gone/downloads/0", Some(&bearer)).await;
    assert_eq!((status, sentence.contains("video/gone")), (503, false), "{sentence}");
    let head = app.client.head(app.at("renders/gone/downloads/0")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(head.status(), 503, "HEAD returns the same status as GET");
    app.stop().await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn readiness_requires_the_migrated_database_and_liveness_requires_nothing(pool: PgPool) {
    let app = start(&pool, &["--download-concurrency=0"]).await;
    let ready = async |app: &App| refused(app, "readyz", None).await;
    let (status, sentence) = ready(&app).await;
    assert_eq!((status, sentence.contains("renderhook migrate")), (503, true), "{sentence}");
    Database::from_pool(pool.clone()).migrate().await.unwrap();
    assert_eq!(ready(&app).await, (200, "ready".to_owned()));
    let newest = "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    sqlx::query(newest).execute(&pool).await.unwrap();
    assert_eq!(ready(&app).await.0, 503);

    // Nothing listens on port 1.
    let nobody = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(1).username("x");
    let database = Some(Database::from_pool(PgPoolOptions::new().connect_lazy_with(nobody)));
    let away = App::start_with(&pool, Options { database, ..Options::default() }).await;
    let (status, sentence) = ready(&away).await;
    assert_eq!((status, sentence.contains("does not answer")), (503, true), "{sentence}");
    for app in [app, away] {
        assert_eq!(app.client.get(app.at("livez")).send().await.unwrap().status(), StatusCode::OK);
        app.stop().await.unwrap();
    }
}
