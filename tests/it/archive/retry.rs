//! Downloads are retried on request.

use chrono::TimeDelta;
use renderhook::archive::{RetriedDownload, RetryFilter, RetryState, preview_retry, retry_downloads};
use renderhook::runtime::Clock;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::{TOKEN, video};
use crate::support::harness::{Harness, noise};
use crate::support::process::{database_url, renderhook};
use crate::support::scripted::{Origin, Step};
use crate::support::{App, Options};

#[sqlx::test]
async fn a_failed_file_is_retried_on_request_with_all_attempts(pool: PgPool) {
    let origin = Origin::start(noise(1000, 1)).await;
    origin.next([Step::default(), Step::status(500)]);
    let app = App::start_with(&pool, Options::flags(&["--download-max-attempts=1", "--download-concurrency=1"])).await;
    let mut project = video("again", "complete");
    project.downloads = vec![origin.url("a.mp4"), origin.url("b.mp4")];
    app.send("video.completed", &project).await;
    let failed = app.archived("again", "partial").await;
    let wait = app.get("/renders/again?wait=30s").await.json::<Value>().await.unwrap();
    let failed = if failed["downloads"][1]["state"] == "failed" { failed } else { wait };
    assert_eq!(failed["downloads"][1]["error"]["code"], "http_500", "{failed}");

    let ask = || app.client.post(app.at("/renders/again/retry")).bearer_auth(TOKEN).send();
    let answer = ask().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["downloads"], json!([1]));
    let render = app.archived("again", "stored").await;
    assert_eq!(render["downloads"][1]["attempts"], 1);
    assert_eq!(render["downloads"][1]["error"], Value::Null);
    // No download is failed any more, so none is retried.
    assert_eq!(ask().await.unwrap().json::<Value>().await.unwrap()["downloads"], json!([]));
    assert_eq!(origin.requests().len(), 3);
    let unknown = app.client.post(app.at("/renders/nobody/retry")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(unknown.status(), 404);
    let stranger = app.client.post(app.at("/renders/again/retry")).send().await.unwrap();
    assert_eq!(stranger.status(), 401);
}

#[sqlx::test]
async fn only_what_the_filter_selects_is_retried(pool: PgPool) {
    let harness = Harness::folder(&pool).with(|downloader| downloader.max_attempts = 1);
    let origin = Origin::start(noise(1000, 2)).await;
    origin.always(Step::status(500));
    let now = Clock::system().now();
    for (id, age) in [("old", 48), ("new", 1)] {
        harness.queue(id, origin.url("a.mp4")).await;
        assert_eq!(harness.attempt(id).await.state, "failed");
        let aged = "UPDATE downloads SET updated_at = $2 WHERE render_id = $1";
        sqlx::query(aged).bind(id).bind(now - TimeDelta::hours(age)).execute(&pool).await.unwrap();
    }
    let lately = RetryFilter { since: Some(now - TimeDelta::hours(24)), ..RetryFilter::default() };
    let database = &harness.downloader.database;
    assert_eq!(ids(preview_retry(database, &lately, now).await.unwrap()), ["new"]);
    assert_eq!(harness.row("new").await.state, "failed", "a preview changes nothing");
    assert_eq!(ids(retry_downloads(database, &lately, now).await.unwrap()), ["new"]);
    assert_eq!(ids(retry_downloads(database, &RetryFilter::default(), now).await.unwrap()), ["old"]);
    for id in ["old", "new"] {
        let row = harness.row(id).await;
        assert_eq!((row.state.as_str(), row.attempts), ("pending", 0), "{id}");
    }
}

fn ids(downloads: Vec<RetriedDownload>) -> Vec<String> {
    downloads.into_iter().map(|download| download.render_id).collect()
}

#[sqlx::test]
async fn a_waiting_file_is_made_due_at_once_and_keeps_its_attempts(pool: PgPool) {
    let harness = Harness::folder(&pool);
    let origin = Origin::start(noise(1000, 4)).await;
    origin.next([Step::status(503).with("retry-after", "3600"), Step::status(503).with("retry-after", "3600")]);
    for id in ["waiting", "other"] {
        harness.queue(id, origin.url("a.mp4")).await;
        assert_eq!(harness.attempt(id).await.outcome(), ("pending", Some("http_503")));
    }
    harness.queue("due", origin.url("a.mp4")).await;
    let (database, now) = (&harness.downloader.database, Clock::system().now());
    let pending = RetryFilter { state: RetryState::Pending, ..RetryFilter::default() };
    let one = RetryFilter { render: Some("waiting".parse().unwrap()), ..pending.clone() };
    assert_eq!(ids(preview_retry(database, &pending, now).await.unwrap()), ["other", "waiting"]);
    assert_eq!(ids(retry_downloads(database, &one, now).await.unwrap()), ["waiting"]);
    let row = harness.row("waiting").await;
    assert_eq!((row.outcome(), row.attempts), (("pending", Some("http_503")), 1));
    assert!(row.due_at.unwrap() <= now);
    assert_eq!(ids(retry_downloads(database, &pending, now).await.unwrap()), ["other"]);
    assert_eq!(ids(retry_downloads(database, &pending, now).await.unwrap()), Vec::<String>::new());
}

#[sqlx::test]
async fn the_command_lists_downloads_and_changes_them_only_without_dry_run(pool: PgPool) {
    let harness = Harness::folder(&pool).with(|downloader| downloader.max_attempts = 1);
    let origin = Origin::start(noise(1000, 3)).await;
    origin.always(Step::status(500));
    harness.queue("changed", origin.url("a.mp4?sig=hush")).await;
    assert_eq!(harness.attempt("changed").await.state, "failed");
    let due_at =
        || sqlx::query_scalar::<_, chrono::DateTime<chrono::Utc>>("SELECT due_at FROM downloads").fetch_one(&pool);
    for (words, state) in [(&["retry", "--failed", "--dry-run"][..], "failed"), (&["retry", "--failed"], "pending")] {
        let output = renderhook(words).env("DATABASE_URL", database_url(&pool).as_str()).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("changed") && text.contains("http_500") && !text.contains("hush"), "{text}");
        assert_eq!(harness.row("changed").await.state, state, "{words:?}");
    }
    // The command makes a waiting download due now.
    let later = Clock::system().now() + TimeDelta::hours(1);
    sqlx::query("UPDATE downloads SET due_at = $1").bind(later).execute(&pool).await.unwrap();
    let pending = ["retry", "--pending", "--render", "changed"];
    let output = renderhook(&pending).env("DATABASE_URL", database_url(&pool).as_str()).output().await.unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("1 waiting download made due now\n"));
    assert!(due_at().await.unwrap() <= Clock::system().now());
    // An unknown render is an error.
    let unknown = ["retry", "--render", "nope"];
    let output = renderhook(&unknown).env("DATABASE_URL", database_url(&pool).as_str()).output().await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("there is no render with the id nope"), "{error}");
}
