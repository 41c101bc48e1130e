//! `standin`, as a program.

use std::process::Stdio;

use reqwest::Client;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

fn standin(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_renderhook-dev"));
    command.arg("standin").args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.env_remove("MAGIC_HOUR_WEBHOOK_SECRET").env_remove("MAGIC_HOUR_API_KEY");
    command
}

#[tokio::test]
async fn the_command_prints_its_url_and_its_renders_and_answers_for_them() {
    let mut command = standin(&["--listen", "127.0.0.1:0", "--api-key", "mhk_test"]);
    // Standard input stays open, as on a terminal.
    let mut running = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let (mut base, mut id) = (None, None);
    while id.is_none() {
        let line = lines.next_line().await.unwrap().expect("a line with a render");
        base = base.or(line.strip_prefix("base URL  ").map(str::to_owned));
        id = line.split_once("render  video ").map(|(_, id)| id.to_owned());
    }
    let url = format!("{}/v1/video-projects/{}", base.unwrap(), id.unwrap());
    let client = Client::builder().no_proxy().build().unwrap();
    assert_eq!(client.get(&url).bearer_auth("mhk_test").send().await.unwrap().status(), 200);
    assert_eq!(client.get(&url).bearer_auth("another").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn a_webhook_url_without_a_secret_is_a_wrong_use() {
    let output = standin(&["--webhook-url", "http://127.0.0.1:9/webhook"]).output().await.unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("--webhook-secret"), "{errors}");
}
