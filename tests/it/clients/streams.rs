//! Streams through nginx, read by `httpx-sse` in Python and by `eventsource` in Node, which follows the HTML standard.

use std::process::Stdio;

use serde_json::Value;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use super::nginx::Nginx;
use super::programs::{Language, are_installed, copy, folder, interpreter};
use crate::support::App;
use crate::support::app::{TOKEN, video};
use crate::support::wait::MAX_WAIT;

/// A program that prints the events of a stream.
struct Follower {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _folder: TempDir,
}

impl Follower {
    fn start(language: Language, url: &str, stays_open: bool) -> Self {
        let folder = folder();
        let script = match language {
            Language::Python => copy("tests/clients/stream.py", &folder),
            Language::Node => copy("tests/clients/stream.mjs", &folder),
        };
        let mut command = interpreter(language);
        command.arg(script).env("STREAM_URL", url).env("TOKEN", TOKEN).stdout(Stdio::piped());
        if stays_open {
            command.env("STAYS_OPEN", "1");
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, _folder: folder }
    }

    /// The next events.
    async fn next(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        while events.len() < count {
            let line = timeout(MAX_WAIT, self.lines.next_line()).await.expect("an event").unwrap();
            events.push(serde_json::from_str(&line.expect("an event, not the end")).unwrap());
        }
        events
    }

    /// Waits until the program ends by itself.
    async fn end(mut self) {
        assert!(timeout(MAX_WAIT, self.child.wait()).await.expect("an end").unwrap().success());
        assert_eq!(self.lines.next_line().await.unwrap(), None);
    }
}

async fn send(app: &App, event_type: &str, id: &str, status: &str) {
    assert_eq!(app.send(event_type, &video(id, status)).await.status, 200);
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

async fn follows_a_render_through_nginx(pool: PgPool, language: Language) {
    if !are_installed() {
        return;
    }
    let app = App::start(&pool).await;
    let Some(mut nginx) = Nginx::start(&app, "").await else { return };
    send(&app, "video.started", "clx", "rendering").await;
    let url = format!("http://127.0.0.1:{}/renders/clx/events", nginx.port());
    let mut follower = Follower::start(language, &url, false);
    assert_eq!(types(&follower.next(1).await), ["render.moved"], "nginx passes it on at once");
    nginx.restart().await;
    send(&app, "video.errored", "clx", "error").await;
    let rest = follower.next(3).await;
    assert_eq!(types(&rest), ["render.moved", "render.failed", "end"], "it resumes where it was");
    assert_eq!(rest[1]["data"]["data"]["status"], "error");
    follower.end().await;
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_python_client_follows_a_render_through_nginx_and_resumes(pool: PgPool) {
    follows_a_render_through_nginx(pool, Language::Python).await;
}

#[sqlx::test]
async fn an_event_source_follows_a_render_through_nginx_and_resumes(pool: PgPool) {
    follows_a_render_through_nginx(pool, Language::Node).await;
}

#[sqlx::test]
async fn an_event_source_that_is_not_closed_at_the_end_stops_by_itself(pool: PgPool) {
    if !are_installed() {
        return;
    }
    let app = App::start(&pool).await;
    send(&app, "video.errored", "clx", "error").await;
    let url = app.at("/renders/clx/events?types=render.failed");
    let mut follower = Follower::start(Language::Node, url.as_str(), true);
    assert_eq!(types(&follower.next(2).await), ["render.failed", "end"]);
    follower.end().await;
    app.stop().await.unwrap();
}
