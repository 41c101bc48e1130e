//! `standin`, as a program.

use std::process::Stdio;

use reqwest::Client;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

fn standin(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_renderhook-dev"));
    command.arg("standin").args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    for name in ["MAGIC_HOUR_WEBHOOK_SECRET", "MAGIC_HOUR_API_KEY"] {
        command.env_remove(name).env_remove(format!("{name}_FILE"));
    }
    command
}

#[tokio::test]
async fn the_command_prints_where_it_is_answers_and_starts_renders_on_enter() {
    let mut command = standin(&["--listen", "127.0.0.1:0", "--api-key", "mhk_test,mhk_second"]);
    // Standard input stays open, as on a terminal.
    let mut running = command.stdin(Stdio::piped()).spawn().unwrap();
    running.stdin.as_mut().unwrap().write_all(b"\n").await.unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let (mut base, mut id) = (None, None);
    while id.is_none() {
        let line = lines.next_line().await.unwrap().expect("a line with a render");
        base = base.or(line.strip_prefix("base URL  ").map(str::to_owned));
        id = line.split_once("render  video ").map(|(_, id)| id.to_owned());
    }
    let base = base.unwrap();
    let url = format!("{base}/v1/video-projects/{}", id.unwrap());
    let client = Client::builder().no_proxy().build().unwrap();
    assert_eq!(client.get(&url).bearer_auth("mhk_test").send().await.unwrap().status(), 200);
    assert_eq!(client.get(&url).bearer_auth("another").send().await.unwrap().status(), 401);
    let address = base.strip_prefix("http://").unwrap();
    assert!(standin(&["--health", "--listen", address]).status().await.unwrap().success());
    running.kill().await.unwrap();
    assert!(!standin(&["--health", "--listen", address]).status().await.unwrap().success());
}

#[tokio::test]
async fn secrets_are_read_from_files_and_an_empty_one_signs_nothing() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let secret = ["--webhook-secret-file", file.path().to_str().unwrap()];
    let args = [&["--listen", "127.0.0.1:0", "--webhook-url", "http://127.0.0.1:9/"][..], &secret].concat();
    let output = standin(&args).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is empty"));
    std::fs::write(file.path(), "whsec_a\n").unwrap();
    let mut running = standin(&args).stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().starts_with("base URL  http://127.0.0.1:"));
}

#[tokio::test]
async fn a_webhook_url_without_a_secret_is_a_wrong_use() {
    let output = standin(&["--webhook-url", "http://127.0.0.1:9/webhook"]).output().await.unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("--webhook-secret"), "{errors}");
}
