//! `DELETE_AFTER_STORE`: a project is deleted once, and only if all its files are verified.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use chrono::{DateTime, TimeDelta, Utc};
use renderhook::runtime::Clock;
use renderhook::upstream::DeletionOutcome;
use renderhook_dev::standin::{Fault, Project, StandIn};
use reqwest::{Method, StatusCode};
use sqlx::PgPool;
use tokio::net::TcpListener;

use crate::support::app::video;
use crate::support::harness::noise;
use crate::support::scripted::{Origin, Step};
use crate::support::{App, Options, standin, until};

async fn start(pool: &PgPool, details: &StandIn) -> App {
    let flags = [details.serve_flags(), vec!["--delete-after-store=true".to_owned()]].concat();
    App::start_with(pool, Options { flags, ..Options::default() }).await
}

async fn deletion(pool: &PgPool, id: &str) -> String {
    until(&format!("the deletion of {id}"), || async {
        let deletion = sqlx::query_scalar::<_, Option<String>>("SELECT deletion FROM renders WHERE id = $1");
        deletion.bind(id).fetch_one(pool).await.unwrap()
    })
    .await
}

#[sqlx::test]
async fn a_project_is_deleted_once_after_its_last_file_is_stored(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 1)).await);
    let one = start(&pool, &details).await;
    let folder = url::Url::from_file_path(one.folder.path()).unwrap();
    let flags =
        [details.serve_flags(), vec!["--delete-after-store=true".to_owned(), format!("--storage-url={folder}")]];
    let _two = App::start_with(&pool, Options { flags: flags.concat(), ..Options::default() }).await;
    origin.next([Step::default(), Step::hold(500)]);
    let mut project = video("done", "complete");
    project.downloads = vec![origin.url("a.mp4"), origin.url("b.mp4")];
    details.put_project(project.clone());
    one.send("video.completed", &project).await;
    one.archived("done", "partial").await;
    assert_eq!(details.total_calls(), 0, "a file is missing");
    origin.release();
    one.archived("done", "stored").await;
    let outcome = deletion(&pool, "done").await;
    assert_eq!((outcome.as_str(), details.call_count(&Method::DELETE, "done")), ("deleted", 1));
}

#[sqlx::test]
async fn a_template_is_not_deleted(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 2)).await);
    let app = start(&pool, &details).await;
    details.faults.inject_for(Method::DELETE, "template", Fault::status(422));
    stored(&app, &details, &origin, "template").await;
    assert_eq!(deletion(&pool, "template").await, "refused");
    assert_eq!(details.call_count(&Method::DELETE, "template"), 1);
}

/// A project with one stored file that is about to be deleted.
async fn stored(app: &App, details: &StandIn, origin: &Origin, id: &str) -> Project {
    let mut project = video(id, "complete");
    project.downloads = vec![origin.url(&format!("{id}.mp4"))];
    details.put_project(project.clone());
    app.send("video.completed", &project).await;
    app.archived(id, "stored").await;
    project
}

#[sqlx::test]
async fn a_file_that_only_magic_hour_lists_is_stored_before_the_project_is_deleted(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 6)).await);
    let app = start(&pool, &details).await;
    let mut project = video("two", "complete");
    project.downloads = vec![origin.url("a.mp4")];
    let announced = project.clone();
    project.downloads.push(origin.url("b.mp4"));
    details.put_project(project);
    app.send("video.completed", &announced).await;
    until("the other file to be stored", || async {
        let files = app.render("two").await["downloads"].as_array().unwrap().clone();
        (files.len() == 2 && files.iter().all(|file| file["state"] == "stored")).then_some(())
    })
    .await;
    assert_eq!(details.call_count(&Method::DELETE, "two"), 0, "its deletion was postponed");
    make_due(&pool, "two").await;
    assert_eq!(deletion(&pool, "two").await, "deleted");
}

#[sqlx::test]
async fn a_file_that_is_reported_right_before_the_deletion_prevents_it(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 7)).await);
    let app = start(&pool, &details).await;
    // While the answer with the files is delayed, an event reports another file.
    details.faults.inject_for(Method::GET, "grows", Fault::Delay(Duration::from_secs(2)));
    let mut project = stored(&app, &details, &origin, "grows").await;
    until("the question", || async { (details.call_count(&Method::GET, "grows") == 1).then_some(()) }).await;
    // It cannot be downloaded, so it is never stored.
    origin.next([Step::status(503)]);
    project.downloads.push(origin.url("b.mp4"));
    app.send("video.completed", &project).await;
    until("the deletion to be postponed", || async { postponed(&pool, "grows").await.then_some(()) }).await;
    assert_eq!(details.call_count(&Method::DELETE, "grows"), 0);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_project_whose_deletion_always_fails_delays_neither_others_nor_polls(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 8)).await);
    let app = start(&pool, &details).await;
    details.faults.inject_for(Method::DELETE, "poison", Fault::status(500));
    stored(&app, &details, &origin, "poison").await;
    until("the first attempt", || async { postponed(&pool, "poison").await.then_some(()) }).await;
    stored(&app, &details, &origin, "healthy").await;
    assert_eq!(deletion(&pool, "healthy").await, "deleted");
    assert_eq!(details.call_count(&Method::DELETE, "poison"), 1, "it waits for its own backoff");
    assert!(!is_paused(&pool).await);
    make_due(&pool, "poison").await;
    until("the next attempt", || async { (details.call_count(&Method::DELETE, "poison") == 2).then_some(()) }).await;
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_proxy_that_answers_404_deletes_nothing(pool: PgPool) {
    let proxy = Router::new().fallback(|| async { (StatusCode::NOT_FOUND, "<html>Not Found</html>") });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let flags = vec![
        format!("--magic-hour-api-url=http://{}", listener.local_addr().unwrap()),
        "--magic-hour-api-key=mhk_test".to_owned(),
        "--delete-after-store=true".to_owned(),
    ];
    tokio::spawn(async move { axum::serve(listener, proxy).await });
    let app = App::start_with(&pool, Options { flags, ..Options::default() }).await;
    let (details, origin) = (standin().await, Origin::start(noise(1000, 9)).await);
    stored(&app, &details, &origin, "kept").await;
    until("the attempt", || async { postponed(&pool, "kept").await.then_some(()) }).await;
    let (deletion, not_found): (Option<String>, bool) =
        sqlx::query_as("SELECT deletion, not_found_at IS NOT NULL FROM renders").fetch_one(&pool).await.unwrap();
    assert_eq!((deletion, not_found), (None, false));
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_changed_object_prevents_the_deletion(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 3)).await);
    let mut project = video("unproven", "complete");
    project.downloads = vec![origin.url("a.mp4"), origin.url("b.mp4")];
    origin.next([Step::default(), Step::hold(500)]);
    let app = start(&pool, &details).await;
    app.send("video.completed", &project).await;
    let render = app.archived("unproven", "partial").await;
    let stored = render["downloads"].as_array().unwrap().iter().find(|file| file["state"] == "stored").unwrap();
    let key = stored["object"]["key"].as_str().unwrap();
    std::fs::write(app.folder.path().join(key), b"something else").unwrap();
    origin.release();
    assert_eq!(deletion(&pool, "unproven").await, "unproven");
    assert_eq!(details.total_calls(), 0);
}

#[sqlx::test]
async fn an_object_that_cannot_be_read_postpones_the_deletion(pool: PgPool) {
    let details = standin().await;
    let app = start(&pool, &details).await;
    let origin = Origin::start(noise(1000, 4)).await;
    origin.next([Step::default(), Step::hold(500)]);
    let mut project = video("unread", "complete");
    project.downloads = vec![origin.url("a.mp4"), origin.url("b.mp4")];
    app.send("video.completed", &project).await;
    let render = app.archived("unread", "partial").await;
    let stored = render["downloads"].as_array().unwrap().iter().find(|file| file["state"] == "stored").unwrap();
    let object = app.folder.path().join(stored["object"]["key"].as_str().unwrap());
    let aside = object.with_extension("aside");
    std::fs::rename(&object, &aside).unwrap();
    origin.release();
    until("the deletion to be postponed", || async { postponed(&pool, "unread").await.then_some(()) }).await;
    let mut next = video("after", "complete");
    next.downloads = vec![origin.url("c.mp4")];
    details.put_project(next.clone());
    details.put_project(project.clone());
    app.send("video.completed", &next).await;
    assert_eq!(deletion(&pool, "after").await, "deleted");
    let undecided = "SELECT deletion IS NULL FROM renders WHERE id = 'unread'";
    assert!(sqlx::query_scalar::<_, bool>(undecided).fetch_one(&pool).await.unwrap());
    assert_eq!(details.call_count(&Method::DELETE, "unread"), 0);
    std::fs::rename(&aside, &object).unwrap();
    make_due(&pool, "unread").await;
    assert_eq!(deletion(&pool, "unread").await, "deleted");
    assert_eq!(details.call_count(&Method::DELETE, "unread"), 1);
}

#[sqlx::test]
async fn an_account_failure_pauses_all_deletions_and_loses_none(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 5)).await);
    details.fail_next([(429, Some(600))]);
    let app = start(&pool, &details).await;
    stored(&app, &details, &origin, "one").await;
    until("the pause", || async { is_paused(&pool).await.then_some(()) }).await;
    stored(&app, &details, &origin, "two").await;
    assert_eq!(details.total_calls(), 1, "no call is made during the pause");
    // Ends the pause.
    sqlx::query("UPDATE upstream_accounts SET paused_until = 'epoch'").execute(&pool).await.unwrap();
    assert_eq!(deletion(&pool, "two").await, "deleted");
    make_due(&pool, "one").await;
    assert_eq!(deletion(&pool, "one").await, "deleted");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_deletion_that_a_wrong_clock_postponed_is_due(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 10)).await);
    details.faults.inject_for(Method::DELETE, "stranded", Fault::status(500));
    let app = start(&pool, &details).await;
    stored(&app, &details, &origin, "stranded").await;
    until("the first attempt", || async { postponed(&pool, "stranded").await.then_some(()) }).await;
    details.faults.clear();
    let ahead = "UPDATE renders SET deletion_due_at = now() + interval '2 days'";
    sqlx::query(ahead).execute(&pool).await.unwrap();
    assert_eq!(deletion(&pool, "stranded").await, "deleted");
    app.stop().await.unwrap();
}

/// Whether a deletion was attempted and postponed. A claim would expire earlier.
async fn postponed(pool: &PgPool, id: &str) -> bool {
    let state = "SELECT deletion_attempts, deletion_due_at FROM renders WHERE id = $1";
    let (attempts, due_at): (i32, Option<DateTime<Utc>>) =
        sqlx::query_as(state).bind(id).fetch_one(pool).await.unwrap();
    // The first backoff is a minute, and a claim lasts for ten.
    attempts == 1 && due_at.is_some_and(|due_at| due_at < Clock::system().now() + TimeDelta::minutes(5))
}

/// Makes a deletion due, as if its backoff had passed.
async fn make_due(pool: &PgPool, id: &str) {
    let due = "UPDATE renders SET deletion_due_at = now() - interval '1 second' WHERE id = $1";
    sqlx::query(due).bind(id).execute(pool).await.unwrap();
}

async fn is_paused(pool: &PgPool) -> bool {
    sqlx::query_scalar("SELECT paused_until > now() FROM upstream_accounts").fetch_one(pool).await.unwrap()
}

#[sqlx::test]
async fn every_outcome_can_be_stored(pool: PgPool) {
    let render = "INSERT INTO renders (id, kind, first_seen_at, last_seen_at, updated_at, deletion)
                  VALUES ($1, 'video', now(), now(), now(), $1)";
    for outcome in DeletionOutcome::ALL {
        sqlx::query(render).bind(outcome.as_str()).execute(&pool).await.unwrap();
    }
}
