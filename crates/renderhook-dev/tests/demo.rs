//! The demo, as a program.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

#[tokio::test]
async fn a_demo_whose_output_is_closed_stops_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_renderhook-dev"));
    command.args(["demo", "--port", "0", "--folder"]).arg(folder.path().join("demo"));
    let mut demo = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().contains("postgres"));
    drop(lines);

    let output = demo.wait_with_output().await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), errors.as_ref()), (Some(0), ""));
    assert!(!folder.path().join("demo/postgres/data/postmaster.pid").exists(), "Postgres is stopped");
}
