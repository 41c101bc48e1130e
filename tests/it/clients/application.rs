//! The application in `examples/magic-hour`: Magic Hour's SDK creates, renderhook tells, and the file arrives.

use std::fs;

use chrono::TimeDelta;
use renderhook::runtime::Clock;
use renderhook_dev::standin::{Settings, StandIn};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::process::Command;

use super::programs::{Language, are_installed, copy, folder, free_port, interpreter, start};
use crate::support::app::{SECRET, TOKEN};
use crate::support::receiver::NOTIFY_SECRET;
use crate::support::{App, Options, until};

fn command(app: &App, magic_hour: &StandIn, folder: &TempDir, port: u16) -> Command {
    let mut command = interpreter(Language::Python);
    copy("examples/magic-hour/app.py", folder);
    command.args(["-m", "uvicorn", "app:app", "--log-level=warning", "--port"]).arg(port.to_string());
    command
        .current_dir(folder)
        .env("RENDERHOOK_URL", app.base.as_str())
        .env("RENDERHOOK_TOKEN", TOKEN)
        .env("NOTIFY_SECRET", NOTIFY_SECRET)
        .env("MAGIC_HOUR_API_KEY", magic_hour.api_key.expose_secret())
        .env("MAGIC_HOUR_API_URL", magic_hour.base.as_str());
    command
}

/// Waits until the application says that an order has ended.
async fn ended(app: &App, order: &str) -> Value {
    until("the order to end", || async {
        let order: Value = app.client.get(order).send().await.unwrap().json().await.unwrap();
        (order["state"] != "rendering").then_some(order)
    })
    .await
}

#[sqlx::test]
async fn an_order_that_the_sdk_creates_ends_with_its_file_or_with_the_reason_why_there_is_none(pool: PgPool) {
    if !are_installed() {
        return;
    }
    let settings = Settings::new(Clock::system(), SecretString::from(SECRET));
    let settings = Settings { render_time: TimeDelta::milliseconds(200), ..settings };
    let magic_hour = StandIn::start(settings).await.unwrap();
    let (folder, port) = (folder(), free_port());
    let mut options = Options::flags(&[
        &format!("--notify-url=http://127.0.0.1:{port}/hooks/renders"),
        &format!("--notify-secret={NOTIFY_SECRET}"),
        "--reconcile-after=1s",
    ]);
    options.flags.extend(magic_hour.serve_flags());
    let app = App::start_with(&pool, options).await;
    magic_hour.webhooks.set_receiver(Some(app.at("/webhook")));
    let _running = start(command(&app, &magic_hour, &folder, port), port).await;

    let table = [("order-17", "ready"), ("order-18%20%23fail", "failed"), ("order-19%20%23cancel", "canceled")];
    for (order, state) in table {
        let url = format!("http://127.0.0.1:{port}/orders/{order}");
        let created = app.client.post(format!("{url}?prompt=A%20dog")).send().await.unwrap();
        assert_eq!(created.status(), 200, "{order}");
        let created: Value = created.json().await.unwrap();
        assert_eq!(created["credits"], 5);
        let ended = ended(&app, &url).await;
        assert_eq!(ended["state"], state, "{ended}");
        if state == "ready" {
            let project = magic_hour.project(created["render"].as_str().unwrap()).unwrap();
            let served = app.client.get(project.downloads[0].clone()).send().await.unwrap().bytes().await.unwrap();
            assert_eq!(fs::read(folder.path().join("files/order-17/0")).unwrap(), served);
        }
    }
    app.stop().await.unwrap();
}
