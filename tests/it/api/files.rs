//! The bytes of stored files, and links that need no token.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};
use renderhook::runtime::Clock;
use reqwest::{Method, Response};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::support::app::{TOKEN, video};
use crate::support::s3::S3;
use crate::support::{App, Options};

const BYTES: &[u8] = b"0123456789";
const FILE: &str = "/renders/clx/downloads/0";

/// Stores one file of the render `clx`.
async fn store(app: &App) {
    let mut project = video("clx", "complete");
    project.downloads = vec![app.files.put("output.mp4", BYTES.to_vec(), "video/mp4").unwrap()];
    assert_eq!(app.send("video.completed", &project).await.status, 200);
    app.archived("clx", "stored").await;
}

async fn in_a_bucket(pool: &PgPool, s3: &S3, flags: &[&str]) -> App {
    let mut options = Options::flags(&[&["--storage-url", &S3::url()], flags].concat());
    options.environment = s3.environment();
    let app = App::start_with(pool, options).await;
    store(&app).await;
    app
}

/// The link to the file, and when it expires.
async fn link(app: &App) -> (String, DateTime<Utc>) {
    let answer = app.get(&format!("{FILE}/link")).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["cache-control"]), (200, &"no-store".parse().unwrap()));
    let link: Value = answer.json().await.unwrap();
    (link["url"].as_str().unwrap().to_owned(), link["expires_at"].as_str().unwrap().parse().unwrap())
}

/// Sends a request without a token.
async fn open(app: &App, url: &str) -> Response {
    app.client.get(app.at(url)).send().await.unwrap()
}

#[sqlx::test]
async fn proxy_mode_sends_a_file_in_a_bucket_through_renderhook(pool: PgPool) {
    let s3 = S3::start().await;
    let app = in_a_bucket(&pool, &s3, &["--serve-files=proxy"]).await;
    let etag = format!("\"{}\"", hex::encode(Sha256::digest(BYTES)));
    for (method, range, status, text) in [
        (Method::GET, None, 200, "0123456789"),
        (Method::GET, Some("bytes=2-4"), 206, "234"),
        (Method::GET, Some("bytes=10-"), 416, "{\"message\":\"the range is outside the file\"}"),
        (Method::HEAD, None, 200, ""),
    ] {
        let mut request = app.client.request(method.clone(), app.at(FILE)).bearer_auth(TOKEN);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{method} {range:?}");
        if status < 300 {
            assert_eq!(answer.headers()["etag"], etag);
            assert_eq!(answer.headers()["content-type"], "video/mp4");
        }
        assert_eq!(answer.text().await.unwrap(), text, "{method} {range:?}");
    }
    let same = app.client.get(app.at(FILE)).bearer_auth(TOKEN).header("if-none-match", etag).send().await.unwrap();
    assert_eq!(same.status(), 304);
    // The link goes through renderhook, too.
    let (url, _) = link(&app).await;
    assert!(url.starts_with(FILE), "{url}");
    assert_eq!(open(&app, &url).await.bytes().await.unwrap(), BYTES);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn redirect_mode_links_to_the_bucket(pool: PgPool) {
    let s3 = S3::start().await;
    let app = in_a_bucket(&pool, &s3, &[]).await;
    assert_eq!(app.get(FILE).await.status(), 307);
    let (url, _) = link(&app).await;
    assert!(url.starts_with(&format!("http://{}/", s3.address)), "{url}");
    assert_eq!(open(&app, &url).await.bytes().await.unwrap(), BYTES);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_link_works_without_a_token_for_one_file_and_one_hour_on_every_replica(pool: PgPool) {
    let seconds = Arc::new(AtomicI64::new(Clock::system().now().timestamp()));
    let shared = seconds.clone();
    let clock = Clock::from_fn(move || DateTime::from_timestamp(shared.load(Ordering::SeqCst), 0).unwrap());
    let app = App::start_with(&pool, Options { clock: Some(clock.clone()), ..Options::default() }).await;
    store(&app).await;
    let (url, expires_at) = link(&app).await;
    assert_eq!(expires_at.timestamp(), seconds.load(Ordering::SeqCst) + 3600);
    assert_opens_one_file(&app, &url, expires_at).await;

    // Another replica, with another public address.
    let folder = format!("--storage-url={}", url::Url::from_file_path(app.folder.path()).unwrap());
    let flags = Options::flags(&[&folder, "--public-url=https://files.example.com/hook/"]);
    let replica = App::start_with(&pool, Options { clock: Some(clock), ..flags }).await;
    assert_eq!(open(&replica, &url).await.status(), 200);
    let (public, _) = link(&replica).await;
    assert!(public.starts_with(&format!("https://files.example.com/hook{FILE}?expires=")), "{public}");

    seconds.fetch_add(3600, Ordering::SeqCst);
    let expired = open(&app, &url).await;
    let (status, answer) = (expired.status(), expired.json::<Value>().await.unwrap());
    assert_eq!((status.as_u16(), answer["message"].as_str().unwrap().contains("has expired")), (403, true), "{answer}");
    assert_eq!(app.get(&url).await.status(), 200, "a token works, too");
    app.stop().await.unwrap();
    replica.stop().await.unwrap();
}

/// Checks that a link returns its file, and nothing else.
async fn assert_opens_one_file(app: &App, url: &str, expires_at: DateTime<Utc>) {
    let answer = open(app, url).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["cache-control"]), (200, &"private".parse().unwrap()));
    assert_eq!(answer.bytes().await.unwrap(), BYTES);
    let part = app.client.get(app.at(url)).header("range", "bytes=-3").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.text().await.unwrap().as_str()), (206, "789"));
    assert_eq!(app.client.head(app.at(url)).send().await.unwrap().status(), 200);

    let query = url.split_once('?').unwrap().1;
    for other in ["/renders/clx/downloads/1", "/renders/cly/downloads/0", "/renders/clx/downloads/x"] {
        assert_eq!(open(app, &format!("{other}?{query}")).await.status(), 403, "{other}");
    }
    for other in ["/renders/clx", "/renders", "/renders/clx/downloads/0/link", "/metrics"] {
        assert_eq!(open(app, &format!("{other}?{query}")).await.status(), 401, "{other}");
    }
    let longer = url.replace(&format!("expires={}", expires_at.timestamp()), "expires=99999999999");
    assert_eq!(open(app, &longer).await.status(), 403);
    assert_eq!(open(app, FILE).await.status(), 401, "neither a link nor a token");
}

#[sqlx::test]
async fn a_link_to_a_file_that_is_not_stored_is_refused(pool: PgPool) {
    let app = App::start_with(&pool, Options::flags(&["--download-concurrency=0"])).await;
    let mut project = video("clx", "complete");
    project.downloads = vec![app.at("nothing")];
    assert_eq!(app.send("video.completed", &project).await.status, 200);
    assert_eq!(app.get(&format!("{FILE}/link")).await.status(), 409);
    assert_eq!(app.get("/renders/clx/downloads/1/link").await.status(), 404);
    app.stop().await.unwrap();
}
