//! Fresh URLs for dead ones, asked for once a render.

use std::time::Duration;

use chrono::TimeDelta;
use renderhook::runtime::Clock;
use renderhook_dev::standin::{Project, StandIn};
use reqwest::Method;
use sqlx::PgPool;
use tokio::time::Instant;

use crate::support::app::video;
use crate::support::bench::{PART, noise};
use crate::support::scripted::{Origin, Step};
use crate::support::{App, Options, standin, until};

async fn start(pool: &PgPool, details: &StandIn) -> App {
    App::start_with(pool, Options { flags: details.serve_flags(), ..Options::default() }).await
}

/// A render with so many files, whose URLs carry this query.
fn files(id: &str, origin: &Origin, count: usize, query: &str) -> Project {
    let mut project = video(id, "complete");
    project.downloads = (0..count).map(|file| origin.url(&format!("{file}.mp4?{query}"))).collect();
    project
}

/// The same, with URLs that live longer.
fn fresher(mut project: Project) -> Project {
    project.expires_at += TimeDelta::hours(1);
    project
}

#[sqlx::test]
async fn four_dead_urls_and_two_services_make_one_details_call(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 1)).await);
    let (one, _two) = (start(&pool, &details).await, start(&pool, &details).await);
    origin.only("sig=2");
    details.put_project(fresher(files("four", &origin, 4, "sig=2")));
    one.send("video.completed", &files("four", &origin, 4, "sig=1")).await;
    // In the folder of whichever service took it.
    let render = one.archived("four", "stored").await;
    assert_eq!(details.call_count(&Method::GET, "four"), 1);
    for download in render["downloads"].as_array().unwrap() {
        assert_eq!(download["attempts"], 1, "what a dead URL costs is no attempt");
        assert_eq!(download["error"], serde_json::Value::Null);
    }
}

#[sqlx::test]
async fn a_url_that_is_about_to_die_is_renewed_before_anything_is_fetched(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 2)).await);
    let app = start(&pool, &details).await;
    let now = Clock::system().now();
    for (id, left, asked) in [("dead", -60, 1), ("dying", 14, 1), ("alive", 16, 0)] {
        let mut old = files(id, &origin, 2, "sig=1");
        old.expires_at = now + TimeDelta::minutes(left);
        details.put_project(fresher(files(id, &origin, 2, "sig=2")));
        app.send("video.completed", &old).await;
        app.archived(id, "stored").await;
        assert_eq!(details.call_count(&Method::GET, id), asked, "{id}");
    }
    let old = origin.asked().iter().filter(|asked| asked.target.ends_with("sig=1")).count();
    assert_eq!(old, 2, "only the one that was alive");
}

#[sqlx::test]
async fn a_transfer_goes_on_with_the_renewed_url(pool: PgPool) {
    let file = noise(PART + 100_000, 3);
    let (details, origin) = (standin().await, Origin::start(file.clone()).await);
    let app = start(&pool, &details).await;
    origin.next([Step::cut(PART + 10), Step::status(403)]);
    details.put_project(fresher(files("goes-on", &origin, 1, "sig=2")));
    app.send("video.completed", &files("goes-on", &origin, 1, "sig=1")).await;
    app.archived("goes-on", "stored").await;
    assert_eq!(std::fs::read(app.folder.path().join("video/goes-on/0-0.mp4")).unwrap(), file);
    assert_eq!(origin.offsets(), [0, PART as u64 + 10, PART as u64]);
    assert_eq!(details.call_count(&Method::GET, "goes-on"), 1);
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
async fn trouble_of_the_account_pauses_and_fails_nothing(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 5)).await);
    origin.only("sig=2");
    details.fail_next([(429, Some(2)), (402, None)]);
    let app = start(&pool, &details).await;
    details.put_project(fresher(files("trouble", &origin, 1, "sig=2")));
    app.send("video.completed", &files("trouble", &origin, 1, "sig=1")).await;
    until("the first refusal", || async { (details.total_calls() == 1).then_some(()) }).await;
    let asked = Instant::now();
    let waits = app.render("trouble").await;
    assert_eq!((&waits["archive"], &waits["downloads"][0]["attempts"]), (&"pending".into(), &0.into()));
    until("the second call", || async { (details.total_calls() == 2).then_some(()) }).await;
    assert!(asked.elapsed() > Duration::from_secs(1), "it was asked again although it wanted to be left alone");
    let render = app.archived("trouble", "stored").await;
    assert_eq!(render["downloads"][0]["attempts"], 1);
}

#[sqlx::test]
async fn a_render_that_magic_hour_does_not_know_is_tried_with_what_there_is_and_each_try_counts(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 6)).await);
    origin.only("sig=2");
    let flags = [details.serve_flags(), vec!["--download-max-attempts=1".to_owned()]].concat();
    let app = App::start_with(&pool, Options { flags, ..Options::default() }).await;
    app.send("video.completed", &files("unknown", &origin, 2, "sig=1")).await;
    let render = app.archived("unknown", "failed").await;
    assert_eq!(details.call_count(&Method::GET, "unknown"), 1);
    let error = render["downloads"][0]["error"].to_string();
    assert!(error.contains("gave up after 1 attempts") && error.contains("403"), "{error}");
}
