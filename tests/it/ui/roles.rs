//! What each role may do.

use sqlx::PgPool;

use super::client::{Browser, READER, start};
use crate::support::app::video;
use crate::support::scripted::{Origin, Step};

#[sqlx::test]
async fn who_may_only_read_sees_no_buttons_and_changes_nothing(pool: PgPool) {
    let origin = Origin::start("bytes").await;
    origin.always(Step::status(404));
    let app = start(&pool, &["--download-max-attempts=1"]).await;
    let mut project = video("clx", "complete");
    project.downloads = vec![origin.url("a.mp4")];
    app.send("video.completed", &project).await;
    app.archived("clx", "failed").await;

    let (mut operator, mut reader) = (Browser::operator(&app).await, Browser::logged_in(&app, READER).await);
    for path in ["/ui", "/ui/renders/clx", "/ui/downloads?state=failed&error=http_404"] {
        let (all, only) = (operator.get(path).await, reader.get(path).await);
        assert!(all.text.contains("Retry"), "{path}: {}", all.text);
        assert!(only.text.contains("http_404") && !only.text.contains("Retry"), "{path}: {}", only.text);
        assert!(!only.text.contains("Erase"), "{path}: {}", only.text);
        assert!(only.text.contains("read only"), "{path}");
    }
    let token = reader.get("/ui").await.form_token();
    for path in ["/ui/retry", "/ui/notify", "/ui/erase"] {
        let answer = reader.post(path, &[("form_token", &token), ("state", "failed"), ("render", "clx")]).await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.text.contains("may only look"), "{}", answer.text);
        assert_eq!(reader.get(path).await.status, 403, "{path}");
    }
    assert_eq!(app.render("clx").await["downloads"][0]["state"], "failed");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn without_a_session_every_page_leads_to_the_login_and_every_form_gets_401(pool: PgPool) {
    let app = start(&pool, &[]).await;
    for path in [
        "/ui",
        "/ui/",
        "/ui/renders",
        "/ui/renders/clx",
        "/ui/renders/clx/live",
        "/ui/live",
        "/ui/deliveries",
        "/ui/deliveries/1",
        "/ui/downloads",
        "/ui/retry",
        "/ui/notify",
        "/ui/erase",
    ] {
        let page = Browser::new(&app).get(path).await;
        assert_eq!(page.status, 303, "{path}");
        assert!(page.location().starts_with("/ui/login?next=%2Fui"), "{path}: {}", page.location());
        // A bearer token is for programs, which the pages are not for.
        let mut program = Browser::new(&app);
        program.headers = vec![("authorization", format!("Bearer {READER}"))];
        assert_eq!(program.get(path).await.status, 303, "{path}");
    }
    for path in ["/ui/retry", "/ui/notify", "/ui/erase"] {
        let mut browser = Browser::new(&app);
        let token = browser.get("/ui/login").await.form_token();
        assert_eq!(browser.post(path, &[("form_token", &token)]).await.status, 401, "{path}");
    }
    app.stop().await.unwrap();
}
