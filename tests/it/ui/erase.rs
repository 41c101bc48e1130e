//! Erasing a render on its page.

use renderhook::views::segment;
use serde_json::Value;
use sqlx::PgPool;

use super::client::{Browser, start};
use crate::support::app::video;
use crate::support::scripted::{Origin, Step};
use crate::support::{App, until};

/// A render with one file, whose archive state becomes `archive`.
async fn create(app: &App, origin: &Origin, id: &str, archive: &str) {
    let mut project = video(id, "complete");
    project.name = Some("A secret film".to_owned());
    project.downloads = vec![origin.url("a.mp4")];
    app.send("video.completed", &project).await;
    app.archived(&segment(id).to_string(), archive).await;
}

#[sqlx::test]
async fn an_operator_erases_a_render_after_a_question(pool: PgPool) {
    let origin = Origin::start("bytes").await;
    let app = start(&pool, &[]).await;
    create(&app, &origin, "a/b", "stored").await;
    let mut browser = Browser::operator(&app).await;
    let page = browser.get("/ui/renders/a%2Fb").await;
    assert!(page.text.contains(r#"href="/ui/erase?render=a%2Fb""#), "{}", page.text);
    let question = browser.get("/ui/erase?render=a%2Fb").await;
    assert!(question.text.contains("Erase a/b?") && !question.text.contains("checkbox"), "{}", question.text);
    assert_eq!(browser.get("/ui/erase?render=nobody").await.status, 404);

    let token = question.form_token();
    assert_eq!(browser.post("/ui/erase", &[("render", "a/b")]).await.status, 403, "without the page's token");
    assert_eq!(browser.post("/ui/erase", &[("form_token", &token), ("render", "nobody")]).await.status, 404);
    assert_eq!(app.render("a%2Fb").await["archive"], "stored", "nothing was erased");
    let answer = browser.post("/ui/erase", &[("form_token", &token), ("render", "a/b")]).await;
    assert_eq!((answer.status, answer.location()), (303, "/ui/renders/a%2Fb?erasing=yes"));
    assert!(browser.get(answer.location()).await.text.contains("This render is being erased."));

    until("the render to be erased", || async {
        (app.render("a%2Fb").await["erased_at"] != Value::Null).then_some(())
    })
    .await;
    let page = browser.get("/ui/renders/a%2Fb").await.text;
    assert!(page.contains("This render was erased") && !page.contains("/ui/erase"), "{page}");
    assert!(!page.contains("A secret film"), "{page}");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn with_an_api_key_the_question_offers_to_delete_the_project_too(pool: PgPool) {
    let origin = Origin::start("bytes").await;
    // Nothing listens there: the project's deletion waits.
    let app = start(&pool, &["--magic-hour-api-key=key", "--magic-hour-api-url=http://127.0.0.1:1/"]).await;
    create(&app, &origin, "clx", "stored").await;
    let mut browser = Browser::operator(&app).await;
    let question = browser.get("/ui/erase?render=clx").await;
    assert!(question.text.contains(r#"type="checkbox""#), "{}", question.text);
    let fields = [("form_token", &*question.form_token()), ("render", "clx"), ("upstream", "true")];
    assert_eq!(browser.post("/ui/erase", &fields).await.status, 303);
    let upstream: bool = sqlx::query_scalar("SELECT upstream FROM erasures").fetch_one(&pool).await.unwrap();
    assert!(upstream);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn the_files_of_a_render_that_is_being_erased_are_in_no_trouble(pool: PgPool) {
    let origin = Origin::start("bytes").await;
    origin.always(Step::status(404));
    let app = start(&pool, &["--download-max-attempts=1"]).await;
    create(&app, &origin, "clx", "failed").await;
    let mut browser = Browser::operator(&app).await;
    assert!(browser.get("/ui").await.text.contains("http_404"));
    // As a request leaves them until the eraser has removed them.
    let being_erased = "UPDATE downloads SET error_code = 'erased', url = NULL, host = ''";
    sqlx::query(being_erased).execute(&pool).await.unwrap();
    let page = browser.get("/ui").await.text;
    assert!(page.contains("Nothing is wrong") && !page.contains("erased"), "{page}");
    app.stop().await.unwrap();
}
