//! `DELETE_AFTER_STORE`: only what is proven to be stored is deleted, once.

use chrono::{DateTime, Utc};
use renderhook_dev::standin::StandIn;
use reqwest::Method;
use sqlx::PgPool;

use crate::support::app::video;
use crate::support::bench::noise;
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
    origin.go_on();
    one.archived("done", "stored").await;
    let told = deletion(&pool, "done").await;
    assert_eq!((told.as_str(), details.call_count(&Method::DELETE, "done")), ("deleted", 1));
}

#[sqlx::test]
async fn a_project_that_is_gone_counts_as_deleted_and_a_templates_is_left(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 2)).await);
    let app = start(&pool, &details).await;
    for (id, status, expected) in [("gone", 404, "deleted"), ("template", 422, "refused")] {
        details.fail_next([(status, None)]);
        let mut project = video(id, "complete");
        project.downloads = vec![origin.url("a.mp4")];
        app.send("video.completed", &project).await;
        assert_eq!(deletion(&pool, id).await, expected);
        assert_eq!(details.call_count(&Method::DELETE, id), 1);
    }
}

#[sqlx::test]
async fn a_file_that_is_not_what_was_stored_keeps_its_project(pool: PgPool) {
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
    origin.go_on();
    assert_eq!(deletion(&pool, "unproven").await, "unproven");
    assert_eq!(details.total_calls(), 0);
}

#[sqlx::test]
async fn a_file_that_cannot_be_read_puts_the_deletion_off(pool: PgPool) {
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
    origin.go_on();
    until("the deletion to be tried", || async { due(&pool, "unread").await }).await;
    // One is dealt with after the other: when this one is deleted, that one has been looked at.
    let mut next = video("after", "complete");
    next.downloads = vec![origin.url("c.mp4")];
    app.send("video.completed", &next).await;
    assert_eq!(deletion(&pool, "after").await, "deleted");
    let undecided = "SELECT deletion IS NULL FROM renders WHERE id = 'unread'";
    assert!(sqlx::query_scalar::<_, bool>(undecided).fetch_one(&pool).await.unwrap());
    assert_eq!(details.call_count(&Method::DELETE, "unread"), 0);
    std::fs::rename(&aside, &object).unwrap();
    // As if half an hour had passed.
    let now = "UPDATE renders SET deletion_due_at = now() - interval '1 hour' WHERE id = 'unread'";
    sqlx::query(now).execute(&pool).await.unwrap();
    assert_eq!(deletion(&pool, "unread").await, "deleted");
    assert_eq!(details.call_count(&Method::DELETE, "unread"), 1);
}

#[sqlx::test]
async fn an_api_in_trouble_pauses_every_deletion_and_gets_them_all_in_the_end(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 5)).await);
    details.fail_next([(503, None)]);
    let app = start(&pool, &details).await;
    for id in ["one", "two"] {
        let mut project = video(id, "complete");
        project.downloads = vec![origin.url(&format!("{id}.mp4"))];
        details.put_project(project.clone());
        app.send("video.completed", &project).await;
    }
    let pause = "SELECT paused_until > now() FROM upstream_throttle";
    until("the pause", || async { sqlx::query_scalar::<_, bool>(pause).fetch_one(&pool).await.unwrap().then_some(()) })
        .await;
    assert_eq!(details.total_calls(), 1, "one call meets the trouble, and no other is made");
    for id in ["one", "two"] {
        assert_eq!(deletion(&pool, id).await, "deleted");
    }
    assert_eq!(details.total_calls(), 3);
}

/// When the deletion is tried again, once it has been tried.
async fn due(pool: &PgPool, id: &str) -> Option<DateTime<Utc>> {
    let due = "SELECT deletion_due_at FROM renders WHERE id = $1";
    sqlx::query_scalar(due).bind(id).fetch_one(pool).await.unwrap()
}
