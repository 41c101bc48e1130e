//! Pictures of the pages for the docs, written to the folder in `SCREENSHOTS` if that is set.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use renderhook::runtime::Clock;
use renderhook_dev::standin::OutputFile;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::client::start;
use super::driver::{Colors, DrivenBrowser};
use crate::support::app::TOKEN;
use crate::support::listening::free_port;
use crate::support::scripted::{Origin, Step};
use crate::support::{App, until};

/// A project as an event reports it.
fn project(kind: &str, id: &str, name: &str, status: &str) -> Value {
    let project_type = match kind {
        "image" => "AI_IMAGE_GENERATOR",
        "audio" => "VOICE_CLONER",
        _ if id.len().is_multiple_of(2) => "FACE_SWAP",
        _ => "IMAGE_TO_VIDEO",
    };
    json!({
        "id": id, "name": name, "type": project_type, "status": status, "enabled": true, "credits_charged": 450,
        "created_at": Clock::system().now(), "width": 1080, "height": 1920, "fps": 30, "start_seconds": 0, "end_seconds": 15,
        "downloads": [], "error": null,
    })
}

async fn send(app: &App, event: &str, project: &Value) {
    let answer = app.post(json!({"type": event, "payload": project}).to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Renders whose files are stored.
async fn complete(app: &App, expires_at: DateTime<Utc>) {
    for (kind, id, name) in [
        ("video", "cmbq7x2pl0004js08a1b2c3d4", "Wedding trailer, vertical cut"),
        ("image", "cmbq7x9zt0007js08p0o9i8u7", "Product shots, autumn collection"),
        ("video", "cmbq7xfrm000bjs08z9y8x7w6", "Teaser for the spring campaign"),
    ] {
        send(app, &format!("{kind}.started"), &project(kind, id, name, "rendering")).await;
        let mut complete = project(kind, id, name, "complete");
        let files = if kind == "image" {
            vec![OutputFile::image(1), OutputFile::image(2)]
        } else {
            vec![OutputFile::video(1), OutputFile::image(3), OutputFile::audio(4)]
        };
        let put = |(at, file): (usize, &OutputFile)| {
            let url =
                app.files.put(&format!("{id}/{at}-{}", file.name), file.bytes.clone(), file.content_type).unwrap();
            json!({"url": url, "expires_at": expires_at})
        };
        complete["downloads"] = files.iter().enumerate().map(put).collect();
        send(app, &format!("{kind}.completed"), &complete).await;
        app.archived(id, "stored").await;
    }
}

/// Renders whose files are in trouble: too large, gone, and not there at the moment.
async fn break_files(app: &App, expires_at: DateTime<Utc>) {
    let (large, gone, down) =
        (Origin::start(vec![0; 1 << 20]).await, Origin::start("bytes").await, Origin::start("bytes").await);
    gone.always(Step::status(404));
    down.always(Step::status(503));
    for (number, origin) in [&large, &large, &large, &gone, &down, &down].into_iter().enumerate() {
        let id = format!("cmbq8{number}tkw0002jt09k2j3h4g5");
        let mut complete = project("video", &id, &format!("Interview, part {}", number + 1), "complete");
        complete["downloads"] = json!([{"url": origin.url("output.mp4"), "expires_at": expires_at}]);
        send(app, "video.completed", &complete).await;
    }
    until("every attempt to fail", || async {
        let failed = "SELECT count(*) FROM downloads WHERE error_code IS NOT NULL";
        (sqlx::query_scalar::<_, i64>(failed).fetch_one(&app.pool).await.unwrap() == 6).then_some(())
    })
    .await;
}

/// Renders that failed, renders that are not finished, and an event that nobody knows.
async fn fail(app: &App) {
    let face = "No face was found in the source picture. Use a picture with one clear face.";
    for (id, code, message) in [
        ("cmbq6p1aa0001l708q1w2e3r4", "no_source_face", face),
        ("cmbq6p1ab0002l708q1w2e3r5", "no_source_face", face),
        ("cmbq6p1ac0003l708q1w2e3r6", "unsupported_codec", "The source video cannot be decoded."),
    ] {
        let mut failed = project("video", id, "Face swap for a customer", "error");
        failed["error"] = json!({"code": code, "message": message});
        failed["credits_charged"] = json!(0);
        send(app, "video.errored", &failed).await;
    }
    for (kind, id, name) in [
        ("video", "cmbq9aaa10003jz08m1n2b3v4", "Music video, second verse"),
        ("audio", "cmbq9aaa20005jz08m1n2b3v5", "Podcast intro"),
    ] {
        send(app, &format!("{kind}.started"), &project(kind, id, name, "rendering")).await;
    }
    send(app, "video.upscaled", &json!({"id": "cmbq9aaa10003jz08m1n2b3v4"})).await;
}

/// The pages of a service with renders, by the name of the picture.
const PAGES: [(&str, &str); 9] = [
    ("trouble", "/ui"),
    ("renders", "/ui/renders"),
    ("render", "/ui/renders/cmbq7x2pl0004js08a1b2c3d4"),
    ("failed-render", "/ui/renders/cmbq80tkw0002jt09k2j3h4g5"),
    ("deliveries", "/ui/deliveries"),
    ("delivery", "/ui/deliveries/2"),
    ("files", "/ui/downloads?error=too_large"),
    ("confirm", "/ui/retry?error=too_large"),
    ("not-found", "/ui/nothing"),
];
/// The end of the picture's name, the width of the screen, and the colors that the system prefers.
const LOOKS: [(&str, u32, Colors); 4] = [
    ("", 1280, Colors::Light),
    ("-dark", 1280, Colors::Dark),
    ("-small", 360, Colors::Light),
    ("-small-dark", 360, Colors::Dark),
];

#[sqlx::test]
async fn pictures_for_the_docs_are_taken_if_wanted(pool: PgPool) {
    let Some(folder) = std::env::var_os("SCREENSHOTS").map(PathBuf::from) else { return };
    let notify = format!("--notify-url=http://127.0.0.1:{}/hooks", free_port());
    let secret = "--notify-secret=whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let app = start(&pool, &[&notify, secret, "--download-max-bytes=256KiB"]).await;
    let Some(browser) = DrivenBrowser::start(&app.base).await else { return };
    browser.open("/ui").await;
    picture(&browser, &folder, "empty-login", 1280, Colors::Light, false).await;
    browser.type_into("#token", TOKEN).await;
    browser.click("button", "Log in").await;
    browser.says("Nothing is wrong").await;
    picture(&browser, &folder, "quiet", 1280, Colors::Light, false).await;
    browser.open("/ui/renders").await;
    picture(&browser, &folder, "empty-renders", 1280, Colors::Light, false).await;
    let expires_at = Clock::system().now() + TimeDelta::minutes(97);
    complete(&app, expires_at).await;
    break_files(&app, expires_at).await;
    fail(&app).await;
    for (name, path) in PAGES {
        browser.open(path).await;
        if name != "not-found" {
            browser.holds("return document.querySelectorAll('video, audio, img').length === 0 || [...document.querySelectorAll('video')].every((it) => it.readyState > 0)").await;
        }
        for (suffix, width, colors) in LOOKS {
            picture(&browser, &folder, &format!("{name}{suffix}"), width, colors, true).await;
        }
    }
    browser.quit().await;
    app.stop().await.unwrap();
}

async fn picture(
    browser: &DrivenBrowser,
    folder: &std::path::Path,
    name: &str,
    width: u32,
    colors: Colors,
    whole: bool,
) {
    browser.look(width, colors).await;
    std::fs::write(folder.join(format!("{name}.png")), browser.picture(whole).await).unwrap();
}
