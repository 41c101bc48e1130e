//! Log lines about polls, conflicts, and stale deliveries: one each, with advice.

use chrono::TimeDelta;
use renderhook::domain::Kind;
use renderhook::runtime::Clock;
use renderhook_dev::standin::{Fault, Lifecycle, RenderPlan, SignedRequest, Stage, StandIn};
use serde_json::Value;
use sqlx::PgPool;
use tempfile::TempDir;

use crate::support::app::{signed, signed_at, video};
use crate::support::process::{Service, database_url, serve};
use crate::support::{standin, until};

async fn start(pool: &PgPool, magic_hour: &StandIn, folder: &TempDir) -> Service {
    let mut command = serve(&database_url(pool), folder);
    for flag in magic_hour.serve_flags() {
        command.arg(flag);
    }
    command.env("RECONCILE_RATE", "50").env("RUST_LOG", "debug");
    Service::start(command).await
}

async fn post(service: &Service, delivery: &SignedRequest) -> u16 {
    delivery.post(&service.client, &service.at("webhook")).await.unwrap().status.as_u16()
}

/// Waits for a line about `event` in which `field` is `value`.
async fn line(service: &Service, event: &str, field: &str, value: &str) -> Value {
    until(&format!("a line {event} with {field} {value}"), || async {
        service.log.events(event).into_iter().find(|line| line[field] == value)
    })
    .await
}

#[sqlx::test]
async fn an_account_failure_pauses_all_calls_with_one_line_and_a_start_resumes_them(pool: PgPool) {
    let (magic_hour, folder) = (standin().await, TempDir::new().unwrap());
    magic_hour.fail_all(401);
    let service = start(&pool, &magic_hour, &folder).await;
    for number in 0..8 {
        let id = format!("r{number}");
        magic_hour.start_render(RenderPlan::new(Kind::Video, &id, Lifecycle::starting_in(Stage::Canceled))).unwrap();
        assert_eq!(post(&service, &signed_at(0, &video(&id, "rendering").event("video.started"))).await, 401);
    }
    let refused = line(&service, "upstream.paused", "error", "http_401").await;
    assert_eq!(refused["level"], "ERROR", "a person must replace the key");
    assert!(refused["message"].as_str().unwrap().contains("MAGIC_HOUR_API_KEY"), "{refused}");
    let until_then: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("SELECT paused_until FROM upstream_accounts").fetch_one(&pool).await.unwrap();
    assert!(until_then > Clock::system().now(), "{until_then}");
    let asked = magic_hour.total_calls();

    // After the key is replaced and the service restarted, waiting renders are polled, and none has failed.
    let log = service.log.clone();
    service.stop().await;
    magic_hour.recover();
    let again = start(&pool, &magic_hour, &folder).await;
    for number in 0..8 {
        line(&again, "render.moved", "render.id", &format!("r{number}")).await;
    }
    let refusals = log.events("upstream.paused");
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert!(asked < 8, "{asked} calls were made before the pause");
}

#[sqlx::test]
async fn one_failed_render_pauses_nothing_and_a_second_one_pauses_all_calls(pool: PgPool) {
    let (magic_hour, folder) = (standin().await, TempDir::new().unwrap());
    magic_hour.faults.inject_next([Fault::CloseConnection]);
    let service = start(&pool, &magic_hour, &folder).await;
    magic_hour.start_render(RenderPlan::new(Kind::Video, "one", Lifecycle::starting_in(Stage::Canceled))).unwrap();
    post(&service, &signed_at(0, &video("one", "rendering").event("video.started"))).await;
    let failed = line(&service, "poll.failed", "error", "connect_failed").await;
    assert_eq!((&failed["level"], &failed["render.id"]), (&"WARN".into(), &"one".into()));
    line(&service, "render.moved", "render.id", "one").await;
    assert_eq!(magic_hour.call_count(&reqwest::Method::GET, "one"), 2);
    assert!(service.log.events("upstream.paused").is_empty());

    magic_hour.faults.inject_always(Fault::CloseConnection);
    for id in ["two", "three"] {
        post(&service, &signed_at(0, &video(id, "rendering").event("video.started"))).await;
    }
    let paused = line(&service, "upstream.paused", "error", "connect_failed").await;
    assert_eq!(paused["level"], "WARN");
}

#[sqlx::test]
async fn retry_after_is_honored_and_calls_resume_afterwards(pool: PgPool) {
    let (magic_hour, folder) = (standin().await, TempDir::new().unwrap());
    magic_hour.fail_next([(429, Some(12))]);
    let service = start(&pool, &magic_hour, &folder).await;
    magic_hour.start_render(RenderPlan::new(Kind::Video, "one", Lifecycle::starting_in(Stage::Canceled))).unwrap();
    post(&service, &signed_at(0, &video("one", "rendering").event("video.started"))).await;
    let refused = line(&service, "upstream.paused", "error", "http_429").await;
    assert_eq!(refused["level"], "WARN");
    let left: f64 =
        sqlx::query_scalar("SELECT extract(epoch FROM paused_until - now())::float8 FROM upstream_accounts")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert!((5.0..=12.0).contains(&left), "{left}");
    line(&service, "render.moved", "render.id", "one").await;
    until("the end of the pause", || async { service.log.events("upstream.resumed").pop() }).await;
}

#[sqlx::test]
async fn a_stale_delivery_logs_both_clocks_once_and_recognizes_milliseconds(pool: PgPool) {
    let (magic_hour, folder) = (standin().await, TempDir::new().unwrap());
    let service = start(&pool, &magic_hour, &folder).await;
    let now = Clock::system().now().timestamp();
    for (seconds, code) in [
        (now * 1000, "signed_in_milliseconds"),
        (now - 3600, "signed_too_long_ago"),
        (now + 3600, "signed_in_the_future"),
    ] {
        post(&service, &signed_at(seconds, &video("stale", "rendering").event("video.started"))).await;
        let line = line(&service, "webhook.stale", "error", code).await;
        assert_eq!((&line["level"], &line["render.id"]), (&"WARN".into(), &"stale".into()));
    }
    let lines = service.log.events("webhook.stale");
    let advice: Vec<_> =
        lines.iter().filter(|line| line["message"].as_str().unwrap().contains("arrived at 20")).collect();
    assert_eq!((lines.len(), advice.len()), (3, 1));
    assert!(advice[0]["message"].as_str().unwrap().contains("timestamps are in milliseconds"), "{advice:?}");
}

#[sqlx::test]
async fn an_unknown_error_asks_for_a_report_and_a_conflict_is_logged(pool: PgPool) {
    let (magic_hour, folder) = (standin().await, TempDir::new().unwrap());
    let service = start(&pool, &magic_hour, &folder).await;
    let mut failed = video("failed", "error");
    failed.error_code = Some("unknown_error".to_owned());
    for _ in 0..2 {
        assert_eq!(post(&service, &signed(&failed.event("video.errored"))).await, 200);
    }
    let line_of = line(&service, "render.moved", "error", "unknown_error").await;
    assert_eq!((&line_of["level"], &line_of["render.id"]), (&"ERROR".into(), &"failed".into()));
    let message = line_of["message"].as_str().unwrap();
    assert!(message.contains("support@magichour.ai") && message.contains("failed"), "{message}");

    post(&service, &signed(&video("failed", "canceled").event("video.canceled"))).await;
    let conflict = line(&service, "render.conflict", "status.to", "canceled").await;
    assert!(conflict["message"].as_str().unwrap().contains("the first one stays"), "{conflict}");
    post(&service, &signed(&video("failed", "complete").event("video.completed"))).await;
    let conflict = line(&service, "render.conflict", "status.to", "complete").await;
    assert!(conflict["message"].as_str().unwrap().contains("is complete"), "{conflict}");
    let reported = service.log.events("render.moved").into_iter().filter(|line| line["error"] == "unknown_error");
    assert_eq!(reported.count(), 1, "once");
}

#[sqlx::test]
async fn an_unknown_render_is_logged_as_a_warning_once(pool: PgPool) {
    let (magic_hour, folder) = (standin().await, TempDir::new().unwrap());
    let service = start(&pool, &magic_hour, &folder).await;
    post(&service, &signed(&video("strange", "rendering").event("video.started"))).await;
    let ask = "UPDATE renders SET poll_requested = true, poll_due_at = $1, polled_at = NULL";
    for count in 1..=2 {
        sqlx::query(ask).bind(Clock::system().now() - TimeDelta::seconds(1)).execute(&pool).await.unwrap();
        until("the answer", || async {
            let tries: i32 = sqlx::query_scalar("SELECT poll_attempts FROM renders").fetch_one(&pool).await.unwrap();
            (tries == count).then_some(())
        })
        .await;
    }
    let levels: Vec<_> = service.log.events("poll.not_found").into_iter().map(|line| line["level"].clone()).collect();
    assert_eq!(levels, ["WARN", "DEBUG"]);
}
