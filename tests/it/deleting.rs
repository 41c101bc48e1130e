//! `DELETE_AFTER_STORE`: only what is proven to be stored is deleted, once.

use renderhook::standin::StandIn;
use reqwest::Method;
use sqlx::PgPool;

use crate::support::app::video;
use crate::support::bench::noise;
use crate::support::scripted::{Origin, Step};
use crate::support::{App, Options, standin, until};

async fn start(pool: &PgPool, details: &StandIn) -> App {
    let flags = [details.flags(), vec!["--delete-after-store=true".to_owned()]].concat();
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
    let flags = [details.flags(), vec!["--delete-after-store=true".to_owned(), format!("--storage-url={folder}")]];
    let _two = App::start_with(&pool, Options { flags: flags.concat(), ..Options::default() }).await;
    origin.next([Step::default(), Step::hold(500)]);
    let mut project = video("done", "complete");
    project.downloads = vec![origin.url("a.mp4"), origin.url("b.mp4")];
    details.put(project.clone());
    one.send("video.completed", &project).await;
    one.archived("done", "partial").await;
    assert_eq!(details.calls(), 0, "a file is missing");
    origin.go_on();
    one.archived("done", "stored").await;
    let told = deletion(&pool, "done").await;
    assert_eq!((told.as_str(), details.count(&Method::DELETE, "done")), ("deleted", 1));
}

#[sqlx::test]
async fn a_project_that_is_gone_counts_as_deleted_and_a_templates_is_left(pool: PgPool) {
    let (details, origin) = (standin().await, Origin::start(noise(1000, 2)).await);
    let app = start(&pool, &details).await;
    for (id, status, expected) in [("gone", 404, "deleted"), ("template", 422, "refused")] {
        details.refuse([(status, None)]);
        let mut project = video(id, "complete");
        project.downloads = vec![origin.url("a.mp4")];
        app.send("video.completed", &project).await;
        assert_eq!(deletion(&pool, id).await, expected);
        assert_eq!(details.count(&Method::DELETE, id), 1);
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
    assert_eq!(details.calls(), 0);
}
