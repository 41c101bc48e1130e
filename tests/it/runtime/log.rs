//! The log of the real binary.

use std::process::Stdio;

use reqwest::Client;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use url::Url;

use crate::support::process::{Service, database_url, serve};
use crate::support::wait::MAX_WAIT;

/// A service whose log is only read when a test reads a line.
struct Unread {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Unread {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        Self { lines: BufReader::new(child.stdout.take().unwrap()).lines(), _child: child }
    }

    /// Reads up to the first line that contains `text`.
    async fn line_with(&mut self, text: &str) -> String {
        let found = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.contains(text) {
                    return line;
                }
            }
            panic!("the log ended without {text}");
        };
        timeout(MAX_WAIT, found).await.expect("the line comes")
    }
}

#[sqlx::test]
async fn a_stalled_log_reader_blocks_no_request(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let mut service = Unread::start(serve(&database_url(&pool), &folder));
    let started: serde_json::Value = serde_json::from_str(&service.line_with("service.started").await).unwrap();
    let url = Url::parse(&format!("http://{}/renders", started["address"].as_str().unwrap())).unwrap();
    let client = Client::builder().no_proxy().build().unwrap();
    // Each answer is a log line. Together they are several times larger than a pipe's buffer.
    for at in 0..2000 {
        let answer = timeout(MAX_WAIT, client.get(url.clone()).send()).await;
        assert_eq!(answer.unwrap_or_else(|_| panic!("no answer to request {at}")).unwrap().status(), 401);
    }
    // No line is missing once the log is read again.
    for _ in 0..2000 {
        service.line_with("http.responded").await;
    }
}

#[sqlx::test]
async fn the_warning_that_authentication_is_off_is_logged_at_every_start(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    for start in ["the first", "the second"] {
        let mut command = serve(&database_url(&pool), &folder);
        command.env("API_TOKENS", "none");
        let service = Service::start(command).await;
        assert_eq!(service.log.events("auth.disabled").len(), 1, "{start} start");
        service.stop().await;
    }
}

#[sqlx::test]
async fn the_pretty_log_has_no_colors_in_a_file(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let mut command = serve(&database_url(&pool), &folder);
    command.env("LOG_FORMAT", "pretty");
    let line = Unread::start(command).line_with("listening").await;
    assert!(!line.contains('\u{1b}'), "{line:?}");
}
