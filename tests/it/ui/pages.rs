//! What the pages show.

use reqwest::header::HeaderMap;
use serde_json::json;
use sqlx::PgPool;

use super::client::{Browser, start, start_with};
use crate::support::app::video;
use crate::support::harness::noise;
use crate::support::listening::free_port;
use crate::support::s3::S3;
use crate::support::scripted::{Origin, Step};
use crate::support::{Options, until};

/// Checks the headers that keep scripts and frames of others out.
fn assert_protected(path: &str, headers: &HeaderMap) {
    let header = |name: &str| headers.get(name).map(|it| it.to_str().unwrap()).unwrap_or_default();
    let policy = header("content-security-policy");
    for part in
        ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'", "img-src 'self'"]
    {
        assert!(policy.contains(part), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{path}: {policy}");
    assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
    assert_eq!(header("x-frame-options"), "DENY", "{path}");
    assert_eq!(header("referrer-policy"), "same-origin", "{path}");
    assert!(!header("x-request-id").is_empty(), "{path}");
}

#[sqlx::test]
async fn every_answer_has_the_headers_that_protect_it(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let mut browser = Browser::operator(&app).await;
    let style = browser.get("/ui").await.text;
    let style = style.split_once(r#"href="/ui/assets/"#).unwrap().1.split('"').next().unwrap().to_owned();
    let style = format!("/ui/assets/{style}");
    for (path, status) in [
        ("/ui", 200),
        ("/ui/renders", 200),
        ("/ui/deliveries", 200),
        ("/ui/login", 303),
        ("/ui/nothing", 404),
        ("/ui/renders/nobody", 404),
        ("/ui/deliveries/7", 404),
        ("/ui/deliveries/x", 404),
        ("/ui/renders?status=lost", 400),
        ("/ui/renders?cursor=x", 400),
        ("/ui/logout", 405),
        ("/ui/assets/0000000000000000/style.css", 404),
        (&style, 200),
    ] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_protected(path, &answer.headers);
        let header = |name: &str| answer.headers[name].to_str().unwrap();
        let cached = if path == style { "public, max-age=31536000, immutable" } else { "no-store" };
        assert_eq!(header("cache-control"), cached, "{path}");
        if status >= 400 {
            assert!(header("content-type").starts_with("text/html"), "{path}");
            assert!(answer.text.contains("<h1>"), "{path}: {}", answer.text);
        }
        assert!(!answer.text.contains(" style=") && !answer.text.contains("<style"), "{path}");
        assert!(!answer.text.contains("<script>") && !answer.text.contains(" onclick"), "{path}");
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn hostile_names_and_bodies_are_text(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let evil = r#""><script>alert(1)</script><img src=x onerror=alert(1)>'&"#;
    let mut project = video(r#"a"><b>&'/../c"#, "error");
    project.name = Some(evil.to_owned());
    (project.error_code, project.error_message) = (Some(evil.to_owned()), Some(evil.to_owned()));
    assert_eq!(app.send("video.errored", &project).await.status, 200);
    let unreadable = format!(r#"{{"type": {}, "payload": 1}}"#, json!(evil));
    assert_eq!(app.post(unreadable.as_bytes()).await.status, 400);
    let mut browser = Browser::operator(&app).await;
    let list = browser.get("/ui/renders").await.text;
    assert!(list.contains("/ui/renders/a%22%3E%3Cb%3E%26%27%2F..%2Fc"), "{list}");
    let newest: i64 = sqlx::query_scalar("SELECT max(id) FROM deliveries").fetch_one(&pool).await.unwrap();
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", evil).finish();
    for path in [
        "/ui".to_owned(),
        "/ui/renders".to_owned(),
        format!("/ui/renders?{query}"),
        "/ui/renders/a%22%3E%3Cb%3E%26%27%2F..%2Fc".to_owned(),
        "/ui/deliveries".to_owned(),
        format!("/ui/deliveries/{newest}"),
        format!("/ui/deliveries/{}", newest - 1),
        "/ui/downloads?error=%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
        "/ui/retry?error=%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
        "/ui?retried=%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
    ] {
        let page = browser.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.text.contains("<script>alert") && !page.text.contains("<img src=x"), "{path}: {}", page.text);
        assert!(!page.text.contains("<b>"), "{path}: {}", page.text);
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn failed_files_are_grouped_by_error_and_retried_one_by_one_or_all_at_once(pool: PgPool) {
    let origin = Origin::start("bytes").await;
    origin.always(Step::status(404));
    let app = start(&pool, &["--download-max-attempts=1"]).await;
    for id in ["one", "two", "three"] {
        let mut project = video(id, "complete");
        project.downloads = vec![origin.url("a.mp4")];
        app.send("video.completed", &project).await;
        app.archived(id, "failed").await;
    }
    let mut browser = Browser::operator(&app).await;
    let page = browser.get("/ui").await;
    assert!(page.text.contains("1 thing needs a look") && page.text.contains("http_404"), "{}", page.text);
    assert!(page.text.contains("/ui/retry?state=failed&amp;error=http_404"), "{}", page.text);
    let files = browser.get("/ui/downloads?state=failed&error=http_404").await;
    assert_eq!(files.text.matches(r#"action="/ui/retry""#).count(), 3, "{}", files.text);

    origin.always(Step::default());
    let token = files.form_token();
    let one =
        [("form_token", &*token), ("state", "failed"), ("render", "one"), ("index", "0"), ("back", "/ui/renders/one")];
    let answer = browser.post("/ui/retry", &one).await;
    assert_eq!((answer.status, answer.location()), (303, "/ui/renders/one?retried=1"));
    assert!(browser.get(answer.location()).await.text.contains("1 download is due now."));
    app.archived("one", "stored").await;

    let question = browser.get("/ui/retry?state=failed&error=http_404").await;
    assert!(question.text.contains("Retry 2 downloads?"), "{}", question.text);
    assert_eq!(app.render("two").await["archive"], "failed", "a question changes nothing");
    let all = [("form_token", &*token), ("state", "failed"), ("error", "http_404"), ("back", "/ui")];
    assert_eq!(browser.post("/ui/retry", &all).await.location(), "/ui?retried=2");
    for id in ["two", "three"] {
        app.archived(id, "stored").await;
    }
    let page = browser.get("/ui").await.text;
    assert!(page.contains("Nothing is wrong"), "{page}");
    assert!(browser.get("/ui/retry").await.text.contains("There is nothing to retry"));
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn renders_are_found_by_the_beginning_of_their_id_their_external_id_and_their_name(pool: PgPool) {
    let app = start(&pool, &[]).await;
    for (id, name) in [("clx1", "Summer 100%"), ("clx2", "summer_2"), ("other", "Winter"), ("Ünder", "x\\y")] {
        let mut project = video(id, "rendering");
        project.name = Some(name.to_owned());
        app.send("video.started", &project).await;
    }
    let announced = app.client.put(app.at("/renders/other")).bearer_auth(crate::support::app::TOKEN);
    let announced = announced.json(&json!({"kind": "video", "external_id": "Order-17"})).send().await.unwrap();
    assert_eq!(announced.status(), 200);
    let mut browser = Browser::operator(&app).await;
    for (text, expected) in [
        ("clx", &["clx1", "clx2"][..]),
        ("clx1", &["clx1"]),
        ("Order", &["other"]),
        ("Order-17", &["other"]),
        ("SUMMER", &["clx1", "clx2"]),
        ("summer_", &["clx2"]),
        ("Summer 100%", &["clx1"]),
        ("%", &[]),
        ("x\\", &["Ünder"]),
        ("Ü", &["Ünder"]),
        ("winter", &["other"]),
        ("lx1", &[]),
        ("\u{0}", &["clx1", "clx2", "other", "Ünder"]),
    ] {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", text).finish();
        let page = browser.get(&format!("/ui/renders?{query}")).await;
        assert_eq!(page.status, 200, "{text}");
        for id in ["clx1", "clx2", "other", "Ünder"] {
            let link = format!("href=\"/ui/renders/{}\"", renderhook::views::segment(id));
            assert_eq!(page.text.contains(&link), expected.contains(&id), "{id} for {text:?}: {}", page.text);
        }
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn lists_are_filtered_by_the_address_and_have_pages(pool: PgPool) {
    let app = start(&pool, &[]).await;
    for number in 0..60 {
        let status = if number % 2 == 0 { "rendering" } else { "error" };
        let event = if number % 2 == 0 { "video.started" } else { "video.errored" };
        app.send(event, &video(&format!("clx{number:02}"), status)).await;
    }
    let mut browser = Browser::operator(&app).await;
    let links = |text: &str| text.matches("href=\"/ui/renders/clx").count();
    let first = browser.get("/ui/renders?status=&kind=&archive=").await;
    assert_eq!(links(&first.text), 50);
    let next = first.text.split_once(r#"rel="next""#).unwrap().0.rsplit_once("href=\"").unwrap().1;
    let next = next.split('"').next().unwrap().replace("&amp;", "&");
    let second = browser.get(&next).await;
    assert_eq!(links(&second.text), 10);
    assert!(second.text.contains("First page") && !second.text.contains("Next page"));
    assert_eq!(links(&browser.get("/ui/renders?status=error&kind=video").await.text), 30);
    assert!(browser.get("/ui/renders?kind=audio").await.text.contains("No render matches"));

    let deliveries = browser.get("/ui/deliveries").await;
    assert_eq!(deliveries.text.matches("href=\"/ui/deliveries/").count(), 50);
    assert!(deliveries.text.contains("Next page"));
    let of_one = browser.get("/ui/deliveries?render_id=clx07&outcome=recorded").await;
    assert_eq!(of_one.text.matches("href=\"/ui/deliveries/").count(), 1, "{}", of_one.text);
    assert!(browser.get("/ui/deliveries?outcome=stale").await.text.contains("No delivery matches"));
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn one_render_and_one_delivery_show_everything_but_credentials(pool: PgPool) {
    let app = start(&pool, &[]).await;
    let mut project = video("clx", "complete");
    project.name = Some("A film".to_owned());
    project.downloads = vec![app.files.put("clx/film.mp4", b"film".to_vec(), "video/mp4").unwrap()];
    app.send("video.started", &video("clx", "rendering")).await;
    app.send("video.completed", &project).await;
    app.archived("clx", "stored").await;
    let mut browser = Browser::operator(&app).await;
    let page = browser.get("/ui/renders/clx").await;
    for words in [
        "A film",
        "after rendering",
        "video.completed",
        "video.started",
        "<video src=\"/renders/clx/downloads/0?expires=",
    ] {
        assert!(page.text.contains(words), "{words} is missing in {}", page.text);
    }
    let link = page.text.split_once("<video src=\"").unwrap().1.split('"').next().unwrap().replace("&amp;", "&");
    let file = app.client.get(app.at(&link)).header("range", "bytes=1-2").send().await.unwrap();
    assert_eq!(file.status(), 206);
    assert_eq!(file.text().await.unwrap(), "il");

    let newest: i64 = sqlx::query_scalar("SELECT max(id) FROM deliveries").fetch_one(&pool).await.unwrap();
    let delivery = browser.get(&format!("/ui/deliveries/{newest}")).await;
    assert!(delivery.text.contains("film.mp4?redacted") && !delivery.text.contains("X-Goog"), "{}", delivery.text);
    assert!(delivery.text.contains("\n  &quot;payload&quot;: {"), "{}", delivery.text);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_transfer_that_takes_long_shows_how_far_it_is(pool: PgPool) {
    let origin = Origin::start(noise(3_000_000, 5)).await;
    origin.next([Step::hold(1_000_000)]);
    let app = start(&pool, &[]).await;
    let mut project = video("clx", "complete");
    project.downloads = vec![origin.url("film.mp4")];
    app.send("video.completed", &project).await;
    let browser = Browser::operator(&app).await;
    let page = until("the page to show the transfer", || {
        let mut browser = browser.clone();
        async move {
            let page = browser.get("/ui/renders/clx").await.text;
            page.contains("<progress").then_some(page)
        }
    })
    .await;
    assert!(page.contains(r#"max="3000000" value="1000000""#) && page.contains("976.6 KiB of 2.9 MiB"), "{page}");
    assert!(page.contains("data-in-progress"), "{page}");
    origin.release();
    app.archived("clx", "stored").await;
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn pictures_and_videos_come_from_the_bucket_and_nothing_else_does(pool: PgPool) {
    let s3 = S3::start().await;
    let options = Options { environment: s3.environment(), ..Options::default() };
    let app = start_with(&pool, options, &["--storage-url", &S3::url()]).await;
    let mut project = video("clx", "complete");
    project.downloads = vec![app.files.put("clx/film.mp4", b"film".to_vec(), "video/mp4").unwrap()];
    app.send("video.completed", &project).await;
    app.archived("clx", "stored").await;
    let mut browser = Browser::operator(&app).await;
    let page = browser.get("/ui/renders/clx").await;
    let bucket = format!("http://{}", s3.address);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    let expected = format!("img-src 'self' {bucket}; media-src 'self' {bucket}; connect-src 'self';");
    assert!(policy.contains(&expected) && policy.matches("http").count() == 2, "{policy}");
    let link = page.text.split_once("<video src=\"").unwrap().1.split('"').next().unwrap().replace("&amp;", "&");
    assert!(link.starts_with(&bucket), "{link}");
    let film = app.client.get(link).header("range", "bytes=1-2").send().await.unwrap();
    assert_eq!((film.status().as_u16(), film.text().await.unwrap()), (206, "il".to_owned()));
    let list = browser.get("/ui/renders").await;
    assert!(!list.headers["content-security-policy"].to_str().unwrap().contains("http"));
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn notifications_are_sent_again_after_a_question(pool: PgPool) {
    let app = start(&pool, &[]).await;
    app.send("video.errored", &video("clx", "error")).await;
    let mut browser = Browser::operator(&app).await;
    assert_eq!(browser.get("/ui/notify?render=clx").await.status, 409, "nothing is posted without NOTIFY_URL");
    app.stop().await.unwrap();

    let notify = format!("--notify-url=http://127.0.0.1:{}/", free_port());
    let secret = "--notify-secret=whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let app = start(&pool, &[&notify, secret, "--notify-max-age=1m"]).await;
    app.send("video.errored", &video("cly", "error")).await;
    let mut browser = browser.at(&app);
    let question = browser.get("/ui/notify?render=cly").await;
    assert!(question.text.contains("Send 1 notification again?"), "{}", question.text);
    let fields = [("form_token", &*question.form_token()), ("render", "cly"), ("back", "/ui/renders/cly")];
    let answer = browser.post("/ui/notify", &fields).await;
    assert_eq!((answer.status, answer.location()), (303, "/ui/renders/cly?sent=1"));
    let page = browser.get(answer.location()).await;
    assert!(
        page.text.contains("1 notification is sent again.") && page.text.contains("render.failed"),
        "{}",
        page.text
    );
    app.stop().await.unwrap();
}
