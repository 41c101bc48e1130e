//! A browser's `EventSource`, which cannot send a token: nginx adds it.

use std::process::Stdio;

use sqlx::PgPool;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::nginx::Nginx;
use crate::support::app::{TOKEN, video};
use crate::support::skip;
use crate::support::{App, until};

/// The names of Chromium.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A page that reports each event of a render as a request to `/report`.
const PAGE: &str = r#"<script>
    const source = new EventSource("/renders/clx/events");
    for (const type of ["render.moved", "render.failed", "reset", "end"]) {
        source.addEventListener(type, (event) => {
            fetch(`/report?${type}&${event.lastEventId.length}`);
            if (type === "end") source.close();
        });
    }
</script>"#;

/// Starts a browser without a window. `None` where it is not installed, which is said.
fn open(url: &str, profile: &TempDir) -> Option<Child> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&path).flat_map(|folder| NAMES.map(|name| folder.join(name)));
    let Some(program) = programs.find(|program| program.is_file()) else {
        skip("no browser is installed (apt-get install chromium)");
        return None;
    };
    let mut command = Command::new(program);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--remote-debugging-port=0", url])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    Some(command.spawn().unwrap())
}

/// What the page has reported.
fn reports(nginx: &Nginx) -> Vec<String> {
    let text = std::fs::read_to_string(nginx.folder().join("reports")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[sqlx::test]
async fn a_page_follows_a_render_through_nginx_and_resumes(pool: PgPool) {
    let app = App::start(&pool).await;
    let locations = format!(
        "location /renders/ {{ proxy_pass {}; proxy_http_version 1.1; proxy_set_header Authorization 'Bearer {TOKEN}'; }}
         location = /page {{ default_type text/html; root .; try_files /page.html =404; }}
         location = /report {{ access_log reports arguments; return 204; }}",
        app.base.as_str().trim_end_matches('/'),
    );
    let Some(mut nginx) = Nginx::start(&app, &locations).await else { return };
    std::fs::write(nginx.folder().join("page.html"), PAGE).unwrap();
    assert_eq!(app.send("video.started", &video("clx", "rendering")).await.status, 200);
    let profile = TempDir::new().unwrap();
    let Some(mut browser) = open(&format!("http://127.0.0.1:{}/page", nginx.port()), &profile) else { return };
    until("the first event", || async { (reports(&nginx) == ["render.moved&16"]).then_some(()) }).await;
    nginx.restart().await;
    assert_eq!(app.send("video.errored", &video("clx", "error")).await.status, 200);
    let all = ["render.moved&16", "render.moved&16", "render.failed&16", "end&20"];
    until("the page to resume where it was", || async {
        // The last reports are sent at once, in any order.
        let mut reports = reports(&nginx);
        reports.sort_by_key(|report| all.iter().position(|it| it == report));
        (reports == all).then_some(())
    })
    .await;
    browser.kill().await.unwrap();
    app.stop().await.unwrap();
}
