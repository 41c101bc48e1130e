//! Fresh URLs for expired ones, with one call per render.

use std::time::Duration;

use chrono::TimeDelta;
use renderhook::intake::{self, RecordRules};
use renderhook::runtime::Clock;
use renderhook_dev::standin::{Project, StandIn};
use reqwest::Method;
use sqlx::PgPool;
use tokio::time::Instant;

use crate::support::app::video;
use crate::support::harness::{Harness, PART, fetcher, noise};
use crate::support::observations::completed;
use crate::support::scripted::{Origin, Step};
use crate::support::{App, Options, standin, until};

async fn start(pool: &PgPool, details: &StandIn) -> App {
    App::start_with(pool, Options { flags: details.serve_flags(), ..Options::default() }).await
}

/// A render with `count` files whose URLs have this query.
fn files(id: &str, origin: &Origin, count: usize, query: &str) -> Project {
    let mut project = video(id, "complete");
    project.downloads = (0..count).map(|file| origin.url(&format!("{file}.mp4?{query}"))).collect();
    project
}

/// The same, with URLs that expire later.
fn fresher(mut project: Project) -> Project {
    project.expires_at += TimeDelta::hours(1);
    project
}

#[sqlx::test]
async fn expired_urls_of_one_render_cause_one_poll(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 1)).await);
    let (one, _two) = (start(&pool, &details).await, start(&pool, &details).await);
    origin.accept_only_query("sig=2");
    details.put_project(fresher(files("four", &origin, 4, "sig=2")));
    one.send("video.completed", &files("four", &origin, 4, "sig=1")).await;
    let render = one.archived("four", "stored").await;
    assert_eq!(details.call_count(&Method::GET, "four"), 1);
    for download in render["downloads"].as_array().unwrap() {
        assert_eq!(download["attempts"], 1, "an expired URL costs no attempt");
        assert_eq!(download["error"], serde_json::Value::Null);
    }
}

#[sqlx::test]
async fn a_url_that_is_about_to_expire_is_renewed_before_the_transfer(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 2)).await);
    let app = start(&pool, &details).await;
    let now = Clock::system().now();
    for (id, left, asked) in [("expired", -60, 1), ("expiring", 14, 1), ("alive", 16, 0)] {
        let mut old = files(id, &origin, 2, "sig=1");
        old.expires_at = now + TimeDelta::minutes(left);
        details.put_project(fresher(files(id, &origin, 2, "sig=2")));
        app.send("video.completed", &old).await;
        app.archived(id, "stored").await;
        assert_eq!(details.call_count(&Method::GET, id), asked, "{id}");
    }
    let old = origin.requests().iter().filter(|asked| asked.target.ends_with("sig=1")).count();
    assert_eq!(old, 2, "only the one that was alive");
}

#[sqlx::test]
async fn a_transfer_resumes_with_the_renewed_url(pool: PgPool) {
    let file = noise(PART + 100_000, 3);
    let (details, origin) = (standin().await, Origin::start(file.clone()).await);
    let app = start(&pool, &details).await;
    origin.next([Step::cut(PART + 10), Step::status(403)]);
    details.put_project(fresher(files("resumed", &origin, 1, "sig=2")));
    app.send("video.completed", &files("resumed", &origin, 1, "sig=1")).await;
    app.archived("resumed", "stored").await;
    assert_eq!(std::fs::read(app.folder.path().join("video/resumed/0-0.mp4")).unwrap(), file);
    assert_eq!(origin.offsets(), [0, PART as u64 + 10, PART as u64]);
    assert_eq!(details.call_count(&Method::GET, "resumed"), 1);
}

#[sqlx::test]
async fn a_render_that_completes_without_downloads_waits_and_gets_them(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 4)).await);
    details.fail_all(503);
    let app = start(&pool, &details).await;
    app.send("video.completed", &video("none", "complete")).await;
    app.archived("none", "awaiting_urls").await;
    until("the details call", || async { (details.total_calls() > 0).then_some(()) }).await;
    details.put_project(files("none", &origin, 2, "sig=1"));
    details.recover();
    let render = app.archived("none", "stored").await;
    assert_eq!(render["downloads"].as_array().unwrap().len(), 2);
}

#[sqlx::test]
async fn an_account_failure_pauses_calls_and_fails_no_file(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 5)).await);
    origin.accept_only_query("sig=2");
    details.fail_next([(429, Some(2)), (402, None)]);
    let app = start(&pool, &details).await;
    details.put_project(fresher(files("paused", &origin, 1, "sig=2")));
    app.send("video.completed", &files("paused", &origin, 1, "sig=1")).await;
    until("the first refusal", || async { (details.total_calls() == 1).then_some(()) }).await;
    let asked = Instant::now();
    let waits = app.render("paused").await;
    assert_eq!((&waits["archive"], &waits["downloads"][0]["attempts"]), (&"pending".into(), &0.into()));
    until("the second call", || async { (details.total_calls() == 2).then_some(()) }).await;
    assert!(asked.elapsed() > Duration::from_secs(1), "it was called again before its Retry-After");
    let render = app.archived("paused", "stored").await;
    assert_eq!(render["downloads"][0]["attempts"], 1);
}

#[sqlx::test]
async fn files_of_an_unknown_render_are_tried_with_their_old_urls_and_each_attempt_counts(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 6)).await);
    origin.accept_only_query("sig=2");
    let flags = [details.serve_flags(), vec!["--download-max-attempts=1".to_owned()]].concat();
    let app = App::start_with(&pool, Options { flags, ..Options::default() }).await;
    app.send("video.completed", &files("unknown", &origin, 2, "sig=1")).await;
    let render = app.archived("unknown", "failed").await;
    assert_eq!(details.call_count(&Method::GET, "unknown"), 1);
    let error = render["downloads"][0]["error"].to_string();
    assert!(error.contains("gave up after 1 attempt since") && error.contains("403"), "{error}");
}

/// Records a fresh URL of a render's file, like an event does.
async fn report_fresh_url(pool: &PgPool, id: &str, url: url::Url) {
    let now = Clock::system().now();
    let payload = completed(id, &[url.as_str()], Some(now + TimeDelta::days(2)), now);
    intake::record(pool, now, &[payload], &RecordRules::default()).await.unwrap();
}

#[sqlx::test]
async fn a_url_that_arrives_during_a_failing_attempt_is_tried_at_once_with_all_attempts(pool: PgPool) {
    let file = noise(1000, 7);
    let large = Step::default().with("content-length", "1001");
    let later = Step::status(503).with("retry-after", "3600");
    let table = [
        ("last", 1, Step::status(500)),
        ("last-expired", 1, Step::status(403)),
        ("permanent", 20, large),
        ("backoff", 20, later),
    ];
    for (id, max_attempts, step) in table {
        let harness = Harness::folder(&pool).with(|downloader| {
            downloader.max_attempts = max_attempts;
            downloader.fetcher = fetcher(1000);
        });
        let (old, new) = (Origin::start(file.clone()).await, Origin::start(file.clone()).await);
        old.next([Step { hold_head: true, ..step }]);
        harness.queue(id, old.url("a.mp4?sig=1")).await;
        let (attempt, _stop) = harness.begin(id).await;
        old.wait_for_requests(1).await;
        report_fresh_url(&pool, id, new.url("a.mp4?sig=2")).await;
        old.release_heads();
        attempt.await.unwrap();
        let row = harness.row(id).await;
        assert_eq!((row.state.as_str(), row.attempts), ("pending", 0), "{id}: {:?}", row.error_message);
        assert!(row.due_at.unwrap() <= Clock::system().now(), "{id}: {:?}", row.due_at);
        harness.attempt(id).await;
        harness.assert_stored(id, &file).await;
    }
}
