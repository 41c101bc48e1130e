//! The applications in `examples/` announce a render, verify what they are told, and fetch the file.

use std::path::PathBuf;

use renderhook::runtime::Clock;
use renderhook_dev::standin::media;
use serde_json::Value;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::process::Command;

use super::programs::{Language, are_installed, copy, folder, free_port, interpreter, start};
use crate::support::app::{TOKEN, video};
use crate::support::receiver::NOTIFY_SECRET;
use crate::support::{App, Options, until};

/// Another secret, which a rotation brings in.
const NEW_SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// An example, its files, and where it listens.
struct Example {
    language: Language,
    folder: TempDir,
    port: u16,
}

impl Example {
    fn new(language: Language) -> Self {
        Self { language, folder: folder(), port: free_port() }
    }

    /// Settings of a service that posts to it, in the middle of a rotation of the secret.
    fn options(&self) -> Options {
        let url = format!("--notify-url=http://127.0.0.1:{}/hooks/renders", self.port);
        Options::flags(&[&url, &format!("--notify-secret={NEW_SECRET},{NOTIFY_SECRET}")])
    }

    fn command(&self, app: &App, secret: &str) -> Command {
        let mut command = interpreter(self.language);
        match self.language {
            Language::Python => {
                copy("examples/fastapi/app.py", &self.folder);
                command.args(["-m", "uvicorn", "app:app", "--log-level=warning", "--port"]).arg(self.port.to_string());
            }
            Language::Node => {
                command.arg(copy("examples/express/app.mjs", &self.folder)).env("PORT", self.port.to_string());
            }
        }
        command
            .current_dir(&self.folder)
            .env("RENDERHOOK_URL", app.base.as_str())
            .env("RENDERHOOK_TOKEN", TOKEN)
            .env("NOTIFY_SECRET", secret);
        command
    }

    fn at(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("files/order-17/0")
    }
}

/// Waits until a notification of the render was attempted and is in this state.
async fn notified(app: &App, id: &str, state: &str) {
    until(&format!("a notification to be {state}"), || async {
        let render = app.render(id).await;
        let notification = render["notifications"].get(0)?;
        (notification["state"] == state
            && notification["attempts"] != 0
            && notification["error"].is_null() == (state == "delivered"))
            .then_some(())
    })
    .await;
}

async fn goes_through_the_journey(pool: PgPool, language: Language, secret: &str) {
    if !are_installed() {
        return;
    }
    let example = Example::new(language);
    let app = App::start_with(&pool, example.options()).await;
    let _running = start(example.command(&app, secret), example.port).await;
    let announced = app.client.put(example.at("/orders/order-17/render/clx")).send().await.unwrap();
    assert_eq!(announced.status(), 200);
    assert_eq!(announced.json::<Value>().await.unwrap()["external_id"], "order-17");
    let bytes = media::image(1);
    let mut project = video("clx", "complete");
    project.downloads = vec![app.files.put("clx/output.png", bytes.clone(), "image/png").unwrap()];
    app.send("video.started", &video("clx", "rendering")).await;
    app.send("video.completed", &project).await;
    notified(&app, "clx", "delivered").await;
    assert_eq!(std::fs::read(example.file()).unwrap(), bytes);
    // What is not signed is refused.
    let forged = app.client.post(example.at("/hooks/renders")).header("content-type", "application/json").body("{}");
    assert_eq!(forged.send().await.unwrap().status(), 400);
    app.stop().await.unwrap();
}

async fn verifies_a_late_retry(pool: PgPool, language: Language, secret: &str) {
    if !are_installed() {
        return;
    }
    let example = Example::new(language);
    let app = App::start_with(&pool, example.options()).await;
    app.send("video.errored", &video("clx", "error")).await;
    notified(&app, "clx", "pending").await;
    // A day later, the application is up.
    let _running = start(example.command(&app, secret), example.port).await;
    let aged = "UPDATE notifications SET at = at - interval '1 day', pending_since = pending_since - interval '1 day',
                due_at = $1 WHERE state = 'pending'";
    sqlx::query(aged).bind(Clock::system().now()).execute(&pool).await.unwrap();
    sqlx::query("SELECT pg_notify('renderhook_feed', '')").execute(&pool).await.unwrap();
    notified(&app, "clx", "delivered").await;
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn the_fastapi_application_verifies_with_the_old_secret_during_a_rotation_and_fetches_the_file(pool: PgPool) {
    goes_through_the_journey(pool, Language::Python, NOTIFY_SECRET).await;
}

#[sqlx::test]
async fn the_express_application_verifies_with_the_new_secret_during_a_rotation_and_fetches_the_file(pool: PgPool) {
    goes_through_the_journey(pool, Language::Node, NEW_SECRET).await;
}

#[sqlx::test]
async fn the_fastapi_application_accepts_a_notification_that_is_a_day_late(pool: PgPool) {
    verifies_a_late_retry(pool, Language::Python, NEW_SECRET).await;
}

#[sqlx::test]
async fn the_express_application_accepts_a_notification_that_is_a_day_late(pool: PgPool) {
    verifies_a_late_retry(pool, Language::Node, NOTIFY_SECRET).await;
}
