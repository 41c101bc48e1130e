//! `GET /metrics`.

use std::path::Path;
use std::process::Stdio;

use sqlx::PgPool;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::app::{SECRET, TOKEN, signed, video};
use crate::support::postgres_proxy::{PostgresProxy, ProxyMode};
use crate::support::process::{Service, database_url, serve};
use crate::support::receiver::Receiver;
use crate::support::{App, Options, skip, standin, until};

/// What a process reports.
async fn scrape(service: &Service) -> String {
    let answer = service.client.get(service.at("metrics")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

/// The value of a series.
fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[sqlx::test]
async fn metrics_need_a_token_and_report_the_time_left(pool: PgPool) {
    let app = App::start_with(&pool, Options::flags(&["--download-concurrency=0"])).await;
    let mut project = video("waiting", "complete");
    project.downloads = vec!["https://files.example/a.mp4".parse().unwrap()];
    assert_eq!(app.send("video.completed", &project).await.status, 200);
    assert_eq!(app.client.get(app.at("/metrics")).send().await.unwrap().status(), 401);
    let answer = app.get("/metrics").await;
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    let text = answer.text().await.unwrap();
    assert_eq!(value(&text, "renderhook_downloads{state=\"pending\"}"), Some(1.0), "{text}");
    assert_eq!(value(&text, "renderhook_renders{kind=\"video\",status=\"complete\"}"), Some(1.0), "{text}");
    let left = value(&text, "renderhook_download_time_left_seconds").unwrap();
    assert!((86_000.0..=86_400.0).contains(&left), "{left}");
    assert!(value(&text, "renderhook_oldest_pending_seconds{queue=\"downloads\"}").unwrap() < 100.0);
    app.stop().await.unwrap();
}

/// A service to which everything happens that is counted, and what it reports then.
async fn after_everything(pool: &PgPool) -> String {
    let (folder, receiver, magic_hour) = (TempDir::new().unwrap(), Receiver::start().await, standin().await);
    let mut command = serve(&database_url(pool), &folder);
    command.args(receiver.flags()).args(magic_hour.serve_flags());
    let service = Service::start(command).await;
    let post = async |body: Vec<u8>| {
        let answer = signed(&body).post(&service.client, &service.at("webhook")).await.unwrap();
        answer.status.as_u16()
    };
    let mut project = video("clx", "complete");
    project.downloads = vec![magic_hour.files.put("clx/output.mp4", vec![7; 1000], "video/mp4").unwrap()];
    assert_eq!(post(video("clx", "rendering").event("video.started")).await, 200);
    assert_eq!(post(project.event("video.completed")).await, 200);
    assert_eq!(post(project.event("video.completed")).await, 200);
    assert_eq!(post(b"no event".to_vec()).await, 400);
    assert_eq!(service.client.post(service.at("webhook")).send().await.unwrap().status(), 401);
    // A render that nobody knows is polled at once.
    let announced = service.client.put(service.at("renders/unknown")).bearer_auth(TOKEN).body(r#"{"kind":"video"}"#);
    assert_eq!(announced.header("content-type", "application/json").send().await.unwrap().status(), 201);
    let text = until("the notification and the poll", || async {
        let text = scrape(&service).await;
        // An answer reads the values from the database one after the other.
        let done = [
            ("renderhook_notifications{state=\"delivered\"}", 1.0),
            ("renderhook_oldest_pending_seconds{queue=\"notifications\"}", 0.0),
            ("renderhook_polls_total{outcome=\"not_found\"}", 1.0),
        ];
        done.iter().all(|(series, expected)| value(&text, series) == Some(*expected)).then_some(text)
    })
    .await;
    service.stop().await;
    text
}

#[sqlx::test]
async fn each_step_of_a_render_is_counted_once(pool: PgPool) {
    let text = after_everything(&pool).await;
    for (series, expected) in [
        ("renderhook_webhooks_total{outcome=\"recorded\"}", 2.0),
        ("renderhook_webhooks_total{outcome=\"duplicate\"}", 1.0),
        ("renderhook_webhooks_total{outcome=\"unreadable\"}", 1.0),
        ("renderhook_webhooks_total{outcome=\"rejected\"}", 1.0),
        ("renderhook_webhooks_total{outcome=\"unavailable\"}", 0.0),
        ("renderhook_webhook_lag_seconds_count", 4.0),
        ("renderhook_record_batch_events_sum", 3.0),
        ("renderhook_transitions_total{kind=\"video\",status=\"rendering\",source=\"webhook\"}", 1.0),
        ("renderhook_transitions_total{kind=\"video\",status=\"complete\",source=\"webhook\"}", 1.0),
        ("renderhook_transitions_total{kind=\"image\",status=\"complete\",source=\"poll\"}", 0.0),
        ("renderhook_render_duration_seconds_count{kind=\"video\"}", 1.0),
        ("renderhook_time_to_stored_seconds_count{kind=\"video\"}", 1.0),
        ("renderhook_download_attempts_total{outcome=\"stored\"}", 1.0),
        ("renderhook_download_bytes_total", 1000.0),
        ("renderhook_download_duration_seconds_count", 1.0),
        ("renderhook_notification_delay_seconds_count", 1.0),
        ("renderhook_notifications{state=\"delivered\"}", 1.0),
        ("renderhook_notifications{state=\"pending\"}", 0.0),
        ("renderhook_oldest_pending_seconds{queue=\"notifications\"}", 0.0),
        ("renderhook_database_up", 1.0),
        ("http_server_request_duration_seconds_count{method=\"POST\",route=\"/webhook\",status=\"200\"}", 3.0),
        ("http_server_request_duration_seconds_count{method=\"PUT\",route=\"/renders/{id}\",status=\"201\"}", 1.0),
    ] {
        assert_eq!(value(&text, series), Some(expected), "{series} in\n{text}");
    }
    let version = format!("renderhook_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(value(&text, &version), Some(1.0), "{text}");
    assert!(!cfg!(target_os = "linux") || value(&text, "process_resident_memory_bytes").unwrap() > 1e6, "{text}");
    for secret in [SECRET, TOKEN, "clx", "output.mp4"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
}

#[sqlx::test]
async fn without_a_database_a_process_still_reports_what_it_counts(pool: PgPool) {
    let (proxy, folder) = (PostgresProxy::start(&database_url(&pool)).await, TempDir::new().unwrap());
    let service = Service::start(serve(&proxy.url(), &folder)).await;
    assert_eq!(value(&scrape(&service).await, "renderhook_database_up"), Some(1.0));
    proxy.set(ProxyMode::Refused);
    let text = scrape(&service).await;
    assert_eq!(value(&text, "renderhook_database_up"), Some(0.0), "{text}");
    assert_eq!(value(&text, "renderhook_webhooks_total{outcome=\"recorded\"}"), Some(0.0), "{text}");
    assert_eq!(value(&text, "renderhook_downloads_endangered"), None, "a value from the database would be a guess");
}

/// Runs promtool in `contrib/prometheus`; `None` if there is none.
async fn promtool(words: &[&str], input: &str) -> Option<std::process::Output> {
    let mut command = Command::new("promtool");
    command.args(words).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/prometheus"));
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        skip("promtool is missing (scripts/test installs it with the package prometheus)");
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    Some(child.wait_with_output().await.unwrap())
}

#[sqlx::test]
async fn promtool_finds_nothing_in_the_metrics(pool: PgPool) {
    let text = after_everything(&pool).await;
    let Some(checked) = promtool(&["check", "metrics"], &text).await else { return };
    assert!(checked.status.success() && checked.stdout.is_empty() && checked.stderr.is_empty(), "{checked:?}");
}

#[tokio::test]
async fn promtool_finds_nothing_in_the_alerts_and_their_tests_pass() {
    for words in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let Some(checked) = promtool(&words, "").await else { return };
        assert!(checked.status.success(), "{checked:?}");
    }
}
