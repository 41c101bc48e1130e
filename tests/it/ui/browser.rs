//! What an operator does, in a real browser.

use sqlx::PgPool;

use super::client::{READER, start};
use super::driver::{Colors, DrivenBrowser};
use renderhook_dev::standin::{OutputFile, Project};

use crate::support::app::{TOKEN, video};
use crate::support::scripted::{Origin, Step};
use crate::support::{App, until};

/// A file of the stand-in, as a download of a render.
fn served(app: &App, id: &str, file: &OutputFile) -> url::Url {
    app.files.put(&format!("{id}/{}", file.name), file.bytes.clone(), file.content_type).unwrap()
}

async fn log_in(browser: &DrivenBrowser, token: &str) {
    browser.type_into("#token", token).await;
    browser.click("button", "Log in").await;
}

#[sqlx::test]
async fn an_operator_logs_in_looks_filters_retries_watches_and_plays(pool: PgPool) {
    let origin = Origin::start(OutputFile::image(1).bytes).await;
    let app = start(&pool, &["--download-max-attempts=1"]).await;
    let Some(browser) = DrivenBrowser::start(&app.base).await else { return };
    break_a_file(&app, &origin).await;

    log_in_and_look(&browser).await;
    retry_from_the_error(&app, &browser, &origin).await;
    let film = watch_a_render_become_complete(&app, &browser).await;
    play_the_video_while_the_page_changes(&app, &browser, film).await;
    pause_and_catch_up(&app, &browser).await;
    filter_and_search(&browser).await;
    read_a_delivery(&browser).await;
    erase_a_render(&browser).await;
    log_out(&browser).await;

    browser.quit().await;
    app.stop().await.unwrap();
}

/// Creates a render whose only file cannot be downloaded.
async fn break_a_file(app: &App, origin: &Origin) {
    origin.always(Step::status(404));
    let mut broken = video("clx-broken", "complete");
    broken.name = Some("Broken film".to_owned());
    broken.downloads = vec![origin.url("a.png")];
    app.send("video.completed", &broken).await;
    app.archived("clx-broken", "failed").await;
}

async fn log_in_and_look(browser: &DrivenBrowser) {
    browser.open("/ui").await;
    browser.check("the form to log in").await;
    log_in(browser, "wrong").await;
    browser.says("This token is not one of").await;
    log_in(browser, TOKEN).await;
    browser.says("1 thing needs a look").await;
    browser.says("http_404").await;
    browser.check("the first page").await;
}

async fn retry_from_the_error(app: &App, browser: &DrivenBrowser, origin: &Origin) {
    origin.always(Step::default());
    browser.click("a", "http_404").await;
    browser.says("clx-broken").await;
    browser.check("the files with an error").await;
    browser.click("button", "Retry file 0 of clx-broken").await;
    browser.says("1 download is due now.").await;
    browser.says("stored").await;
    assert_eq!(browser.address().await, "/ui/renders/clx-broken", "what was done is said once");
    app.archived("clx-broken", "stored").await;
    browser.holds("return document.querySelector('.media img')?.naturalWidth > 0").await;
    browser.check("a render with a picture").await;
}

async fn watch_a_render_become_complete(app: &App, browser: &DrivenBrowser) -> Project {
    let mut film = video("clx-film", "rendering");
    film.name = Some("A film".to_owned());
    app.send("video.started", &film).await;
    browser.open("/ui/renders/clx-film").await;
    browser.says("rendering").await;
    browser.holds("return document.getElementById('live').dataset.state === 'live'").await;
    browser.evaluate("window.isSamePage = true").await;
    film.status = Some("complete".to_owned());
    let files = [OutputFile::video(1), OutputFile::image(1), OutputFile::audio(1)];
    film.downloads = files.iter().map(|file| served(app, "clx-film", file)).collect();
    app.send("video.completed", &film).await;
    browser.holds("return document.querySelectorAll('.file .badge.good').length === 3").await;
    assert_eq!(browser.evaluate("return window.isSamePage").await, true, "without loading the page again");
    film
}

async fn play_the_video_while_the_page_changes(app: &App, browser: &DrivenBrowser, mut film: Project) {
    browser
        .evaluate("const video = document.querySelector('video'); video.muted = true; video.loop = true; video.play()")
        .await;
    browser.holds("return document.querySelector('video').currentTime > 0.3").await;
    browser.evaluate("window.video = document.querySelector('video')").await;
    film.credits_charged = 500;
    app.send("video.completed", &film).await;
    browser.evaluate("document.querySelector('video').currentTime = 1.5").await;
    browser.holds("return document.querySelector('video').currentTime > 1.5").await;
    assert_eq!(browser.evaluate("return window.video === document.querySelector('video')").await, true);
    browser.check("a render with all kinds of files").await;
}

/// While paused, nothing changes; afterward, everything that was missed appears.
async fn pause_and_catch_up(app: &App, browser: &DrivenBrowser) {
    browser.click("#live", "Live").await;
    browser.says("Paused").await;
    browser.open("/ui/renders").await;
    browser.says("Paused").await;
    app.send("video.started", &video("clx-late", "rendering")).await;
    assert!(!browser.text().await.contains("clx-late"));
    browser.click("#live", "Paused").await;
    browser.says("clx-late").await;
}

async fn filter_and_search(browser: &DrivenBrowser) {
    browser.check("the list of renders").await;
    browser.click("option", "rendering").await;
    browser.click("button", "Filter").await;
    browser.says("clx-late").await;
    assert!(!browser.text().await.contains("A film"));
    assert!(browser.address().await.contains("status=rendering"));
    browser.type_into("#q", "a fi").await;
    browser.press_enter("#q").await;
    browser.says("A film").await;
}

async fn read_a_delivery(browser: &DrivenBrowser) {
    browser.open("/ui/deliveries").await;
    browser.says("video.completed").await;
    browser.check("the list of deliveries").await;
    browser.click("a", "video.started").await;
    browser.says("\"payload\": {").await;
    browser.check("a delivery").await;
}

async fn erase_a_render(browser: &DrivenBrowser) {
    browser.open("/ui/renders/clx-late").await;
    browser.click("a", "Erase…").await;
    browser.says("Erase clx-late?").await;
    browser.check("the question before an erasure").await;
    browser.click("button", "Erase").await;
    browser.says("This render is being erased.").await;
    // No event reports it, so the page has to be loaded again.
    until("the render to be erased", || async {
        browser.open("/ui/renders/clx-late").await;
        browser.text().await.contains("This render was erased").then_some(())
    })
    .await;
    browser.check("an erased render").await;
}

async fn log_out(browser: &DrivenBrowser) {
    browser.click("button", "Log out").await;
    browser.says("One of API_TOKENS").await;
    browser.open("/ui/renders").await;
    browser.says("One of API_TOKENS").await;
}

#[sqlx::test]
async fn everything_but_live_updates_works_without_scripts_and_on_a_small_screen(pool: PgPool) {
    let origin = Origin::start("bytes").await;
    origin.always(Step::status(404));
    let app = start(&pool, &["--download-max-attempts=1"]).await;
    let Some(browser) = DrivenBrowser::start(&app.base).await else { return };
    for id in ["one", "two"] {
        let mut project = video(id, "complete");
        project.downloads = vec![origin.url("a.bin")];
        app.send("video.completed", &project).await;
        app.archived(id, "failed").await;
    }
    browser.look(360, Colors::Dark).await;
    browser.open("/ui").await;
    log_in(&browser, READER).await;
    for path in ["/ui", "/ui/renders", "/ui/renders/one", "/ui/deliveries", "/ui/downloads?error=http_404"] {
        browser.open(path).await;
        browser.check(path).await;
    }
    browser.open("/ui").await;
    browser.click("button", "Log out").await;
    browser.run_scripts(false).await;
    log_in(&browser, TOKEN).await;
    browser.says("http_404").await;
    assert!(!browser.text().await.contains("Live"));
    origin.always(Step::default());
    browser.click("a", "Retry… http_404").await;
    browser.says("Retry 2 downloads?").await;
    browser.click("button", "Retry 2 downloads").await;
    browser.says("2 downloads are due now.").await;
    for id in ["one", "two"] {
        app.archived(id, "stored").await;
    }
    browser.quit().await;
    app.stop().await.unwrap();
}
