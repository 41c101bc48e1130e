//! `renderhook status` and `renderhook completions`.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::app::video;
use crate::support::process::{database_url, renderhook};
use crate::support::{App, Options, until};

async fn status(pool: &PgPool) -> String {
    let output = renderhook(&["status"]).env("DATABASE_URL", database_url(pool).as_str()).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[sqlx::test]
async fn the_screen_shows_what_is_urgent_and_what_went_wrong(pool: PgPool) {
    let app = App::start_with(&pool, Options::flags(&["--download-concurrency=0"])).await;
    let mut project = video("waiting", "complete");
    project.downloads = vec!["https://files.example/a.mp4".parse().unwrap()];
    app.send("video.completed", &project).await;
    project = video("broken", "error");
    project.error_code = Some("bad_input".to_owned());
    project.error_message = Some("the face is not visible".to_owned());
    app.send("video.errored", &project).await;
    let screen = status(&pool).await;
    for line in [
        "  video  0      0       0          1      0         1         0",
        "downloads      1        0            0          0",
        "Most urgent downloads:",
        "Latest errors:",
    ] {
        assert!(screen.lines().any(|there| there == line), "{line:?} in\n{screen}");
    }
    assert!(screen.contains("waiting 0  pending  0 attempts"), "{screen}");
    assert!(screen.contains("broken  bad_input: the face is not visible"), "{screen}");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn watching_shows_the_screen_again_until_ctrl_c(pool: PgPool) {
    let mut command = renderhook(&["status", "--watch=20ms"]);
    command.env("DATABASE_URL", database_url(&pool).as_str()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut screens = 0;
    while screens < 3 {
        let line = lines.next_line().await.unwrap().expect("it goes on");
        screens += usize::from(line.starts_with("renderhook "));
    }
    kill_process(Pid::from_raw(child.id().unwrap().cast_signed()).unwrap(), Signal::INT).unwrap();
    let status = until("its end", || {
        let ended = child.try_wait().unwrap();
        async move { ended }
    });
    assert!(status.await.success());
}

#[tokio::test]
async fn completions_complete_the_commands_and_their_flags() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = renderhook(&["completions", shell]).output().await.unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("renderhook") && script.contains("dry-run"), "{shell}");
    }
    let output = renderhook(&["completions", "tcsh"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
}
