//! Renders: their details, their deletion, their files and their webhooks, and what can go wrong.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use renderhook::domain::Kind;
use renderhook::intake::sign_delivery;
use renderhook::runtime::Clock;
use renderhook_dev::standin::{
    Fault, Lifecycle, Network, OutputFile, RenderPlan, Retries, RetrySigning, Settings, Stage, StandIn, WebhookAttempt,
    WebhookOutcome,
};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use crate::support::{ManualClock, SECRET, answered, call, get, key, receiver, settings};

#[tokio::test]
async fn a_render_proceeds_by_itself_and_the_details_call_shows_its_current_state() {
    let clock = ManualClock::new();
    let magic_hour = StandIn::start(settings(clock.clock())).await.unwrap();
    let lifecycle = Lifecycle::queued()
        .then(TimeDelta::seconds(10), Stage::Rendering)
        .then(TimeDelta::seconds(60), Stage::Complete);
    magic_hour
        .start_render(RenderPlan::new(Kind::Audio, "a", lifecycle).with(OutputFile::new("a.wav", "la", "audio/wav")))
        .unwrap();
    let table = [(0, "queued", 500, 0), (10, "rendering", 500, 0), (49, "rendering", 500, 0), (1, "complete", 450, 1)];
    for (seconds, status, credits, files) in table {
        clock.advance(seconds);
        let (code, project) = get(&magic_hour, "audio-projects/a").await;
        assert_eq!((code, &project["status"]), (200, &json!(status)));
        assert_eq!(
            (&project["credits_charged"], project["downloads"].as_array().unwrap().len()),
            (&json!(credits), files)
        );
        assert_eq!(project["created_at"], "2027-01-15T08:00:00.000Z");
        assert_eq!(magic_hour.project("a").unwrap().status.as_deref(), Some(status));
    }
    // A failed or canceled render is refunded.
    for (stage, code) in [(Stage::error("no_source_face"), json!("no_source_face")), (Stage::Canceled, Value::Null)] {
        magic_hour.start_render(RenderPlan::new(Kind::Image, "b", Lifecycle::queued())).unwrap();
        let status = stage.status();
        assert!(magic_hour.move_render("b", stage));
        let (_, project) = get(&magic_hour, "image-projects/b").await;
        assert_eq!((&project["status"], &project["credits_charged"]), (&json!(status), &json!(0)));
        assert_eq!(project["error"]["code"], code);
    }
    assert!(!magic_hour.move_render("unknown", Stage::Canceled));
}

#[tokio::test]
async fn every_stage_of_every_kind_is_answered_as_described_and_with_the_deprecated_fields_that_sdks_require() {
    let magic_hour = StandIn::start(settings(Clock::system())).await.unwrap();
    for kind in [Kind::Video, Kind::Image, Kind::Audio] {
        let stages = [Stage::Draft, Stage::Queued, Stage::Rendering, Stage::Complete, Stage::Canceled];
        for stage in stages.into_iter().chain([Stage::error("no_source_face")]) {
            let files = [OutputFile::new("a", "a", "image/png"), OutputFile::new("b", "b", "image/png")];
            let is_complete = stage == Stage::Complete;
            let plan = RenderPlan::new(kind, "x", Lifecycle::starting_in(stage));
            magic_hour.start_render(files.into_iter().fold(plan, RenderPlan::with)).unwrap();
            let (_, project) = get(&magic_hour, &format!("{kind}-projects/x")).await;
            let cost = (kind != Kind::Audio).then(|| &project["credits_charged"]);
            assert_eq!(project.get("total_frame_cost"), cost);
            let first = project["downloads"].get(0).unwrap_or(&Value::Null);
            assert_eq!(project.get("download"), (kind == Kind::Video).then_some(first));
            assert_eq!(first.is_null(), !is_complete);
        }
    }
}

#[tokio::test]
async fn errors_are_answered_as_documented_and_every_call_is_logged() {
    let magic_hour = StandIn::start(settings(Clock::system())).await.unwrap();
    for (id, is_template) in [("v", false), ("t", true)] {
        magic_hour
            .start_render(RenderPlan { is_template, ..RenderPlan::new(Kind::Video, id, Lifecycle::queued()) })
            .unwrap();
    }
    let unauthorized = Client::new().get(format!("{}/v1/video-projects/v", magic_hour.base)).send().await.unwrap();
    let unauthorized = answered(&Method::GET, "video-projects/v", unauthorized).await;
    assert_eq!(unauthorized, (401, json!({"message": "Unauthorized"})));
    let not_found = (404, json!({"message": "Not Found"}));
    for path in ["video-projects/unknown", "image-projects/v", "model-projects/v", "video/v"] {
        assert_eq!(get(&magic_hour, path).await, not_found, "{path}");
    }
    let (status, message) = call(&magic_hour, Method::DELETE, "video-projects/t").await;
    assert_eq!((status, message["message"].as_str().unwrap().contains("template")), (422, true));
    assert_eq!(call(&magic_hour, Method::DELETE, "image-projects/v").await, not_found);
    assert_eq!(call(&magic_hour, Method::DELETE, "video-projects/v").await, (204, Value::Null));
    assert_eq!(call(&magic_hour, Method::DELETE, "video-projects/v").await, not_found);
    assert_eq!(get(&magic_hour, "video-projects/v").await, not_found);
    assert!(!magic_hour.project("v").unwrap().enabled);
    assert!(magic_hour.project("t").unwrap().enabled);
    let statuses: Vec<_> = magic_hour.call_log.calls().iter().map(|call| call.status.unwrap().as_u16()).collect();
    assert_eq!(statuses, [401, 404, 404, 404, 404, 422, 404, 204, 404, 404]);
    assert_eq!((magic_hour.call_count(&Method::GET, "v"), magic_hour.call_count(&Method::DELETE, "v")), (5, 3));
}

#[tokio::test]
async fn faults_are_injected_and_cleared() {
    let clock = ManualClock::new();
    let magic_hour = StandIn::start(settings(clock.clock())).await.unwrap();
    magic_hour.start_render(RenderPlan::new(Kind::Video, "v", Lifecycle::queued())).unwrap();
    magic_hour.fail_next([(429, Some(7)), (402, None)]);
    let details = format!("{}/v1/video-projects/v", magic_hour.base);
    let get_details = || Client::new().get(&details).bearer_auth(key(&magic_hour)).send();
    let failed = get_details().await.unwrap();
    assert_eq!((failed.status().as_u16(), failed.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    assert_eq!(get(&magic_hour, "video-projects/v").await, (402, json!({"message": "Payment required"})));

    magic_hour.faults.inject_always(Fault::CloseConnection);
    for _ in 0..2 {
        assert!(get_details().await.is_err(), "the connection is closed without an answer");
    }
    assert_eq!(magic_hour.call_log.calls().last().unwrap().status, None);
    magic_hour.faults.clear();

    clock.advance(60);
    assert!(magic_hour.move_render("v", Stage::Rendering));
    magic_hour
        .faults
        .inject_next([Fault::StaleAnswer(TimeDelta::seconds(1)), Fault::StaleAnswer(TimeDelta::seconds(61))]);
    assert_eq!(get(&magic_hour, "video-projects/v").await.1["status"], "queued");
    assert_eq!(get(&magic_hour, "video-projects/v").await.0, 404, "it did not exist yet");
    assert_eq!(get(&magic_hour, "video-projects/v").await.1["status"], "rendering");

    magic_hour.faults.inject_next([Fault::Delay(Duration::from_hours(1))]);
    let call = tokio::spawn(get_details());
    magic_hour.call_log.wait_for_calls(8).await;
    assert!(!call.is_finished());
    call.abort();
}

#[tokio::test]
async fn each_details_call_returns_new_urls_that_work_until_they_expire() {
    let clock = ManualClock::new();
    let magic_hour = StandIn::start(Settings { url_lifetime: TimeDelta::minutes(10), ..settings(clock.clock()) }).await;
    let magic_hour = magic_hour.unwrap();
    let plan = RenderPlan::new(Kind::Image, "i", Lifecycle::starting_in(Stage::Complete));
    magic_hour.start_render(plan.with(OutputFile::new("one.png", "1", "image/png"))).unwrap();
    let url = async || {
        let (_, project) = get(&magic_hour, "image-projects/i").await;
        let download = &project["downloads"][0];
        let expires_at: DateTime<Utc> = download["expires_at"].as_str().unwrap().parse().unwrap();
        (Url::parse(download["url"].as_str().unwrap()).unwrap(), expires_at)
    };
    let status = async |url: &Url| reqwest::get(url.clone()).await.unwrap().status().as_u16();
    let (first, expires_at) = url().await;
    let (second, _) = url().await;
    assert_ne!(first, second);
    assert_eq!(first.path(), second.path());
    clock.advance(599);
    let (third, _) = url().await;
    for url in [&first, &second, &third] {
        assert_eq!(status(url).await, 200);
    }
    assert_eq!(reqwest::get(first.clone()).await.unwrap().text().await.unwrap(), "1");
    clock.advance(1);
    assert_eq!(expires_at, clock.clock().now());
    assert_eq!((status(&first).await, status(&third).await), (403, 200));
    let mut forged = third.clone();
    forged.set_query(Some(&third.query().unwrap().replace("X-Goog-Expires=1", "X-Goog-Expires=9")));
    assert_eq!(status(&forged).await, 403);
    assert_eq!(call(&magic_hour, Method::DELETE, "image-projects/i").await.0, 204);
    assert_eq!(status(&third).await, 404, "its files are deleted with it");
}

/// The render, the type, the status and the number of files of a webhook, whose signature is right.
fn verified_event(headers: &HeaderMap, body: &[u8]) -> (String, String, String, usize) {
    let header = |name: &str| headers[name].to_str().unwrap();
    let signature = sign_delivery(&SecretString::from(SECRET), header("magic-hour-event-timestamp"), body);
    assert_eq!(header("magic-hour-event-signature"), signature);
    let event: Value = serde_json::from_slice(body).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let files = event["payload"]["downloads"].as_array().unwrap().len();
    (text(&event["payload"]["id"]), text(&event["type"]), text(&event["payload"]["status"]), files)
}

#[tokio::test]
async fn a_webhook_is_sent_for_each_stage_that_has_one_with_the_project_in_that_stage() {
    let magic_hour = StandIn::start(settings(Clock::system())).await.unwrap();
    let (url, received) = receiver(&[200]).await;
    magic_hour.webhooks.set_receiver(Some(url));
    // All stages begin at once, and each webhook still has its own.
    let now = TimeDelta::zero();
    let lifecycle = || Lifecycle::queued().then(now, Stage::Rendering).then(now, Stage::Complete);
    let file = || OutputFile::new("a.bin", "a", "application/octet-stream");
    magic_hour.start_render(RenderPlan::new(Kind::Video, "complete", lifecycle()).with(file())).unwrap();
    magic_hour
        .start_render(
            RenderPlan { sends_started: false, ..RenderPlan::new(Kind::Image, "without-started", lifecycle()) }
                .with(file()),
        )
        .unwrap();
    magic_hour
        .start_render(RenderPlan::new(Kind::Audio, "silent", Lifecycle::queued().then(now, Stage::Canceled)))
        .unwrap();
    magic_hour.start_render(RenderPlan::new(Kind::Audio, "failed", Lifecycle::queued())).unwrap();
    assert!(magic_hour.move_render("failed", Stage::error("text_too_long")));
    magic_hour.call_log.wait_for_webhooks(4).await;
    let mut sent: Vec<_> =
        received.lock().unwrap().iter().map(|(headers, body)| verified_event(headers, body)).collect();
    sent.sort();
    let expected = [
        ("complete", "video.completed", "complete", 1),
        ("complete", "video.started", "rendering", 0),
        ("failed", "audio.errored", "error", 0),
        ("without-started", "image.completed", "complete", 1),
    ];
    let sent: Vec<_> = sent.iter().map(|(id, event, status, files)| (&**id, &**event, &**status, *files)).collect();
    assert_eq!(sent, expected);
    assert_eq!(magic_hour.call_log.webhooks().len(), 4, "no other webhook is sent");
}

#[tokio::test]
async fn a_webhook_is_retried_with_growing_delays_until_it_is_accepted() {
    for signing in [RetrySigning::Fresh, RetrySigning::Original] {
        let clock = ManualClock::new();
        let retries = Retries { unit: Duration::from_millis(20), signing };
        let magic_hour = StandIn::start(Settings { retries, ..settings(clock.clock()) }).await.unwrap();
        // First there is no receiver, then one that fails, then one that accepts.
        magic_hour.start_render(RenderPlan::new(Kind::Video, "v", Lifecycle::starting_in(Stage::Rendering))).unwrap();
        magic_hour.call_log.wait_for_webhooks(2).await;
        clock.advance(3);
        let (url, received) = receiver(&[503, 401, 200]).await;
        magic_hour.webhooks.set_receiver(Some(url));
        let accepted = magic_hour.call_log.wait_for_webhook(WebhookAttempt::is_accepted).await.unwrap();
        let sent = magic_hour.call_log.webhooks();
        assert_eq!(
            sent.iter().map(|sent| sent.attempt).collect::<Vec<_>>(),
            (1..=accepted.attempt).collect::<Vec<_>>()
        );
        assert!(matches!(sent[0].outcome, WebhookOutcome::Unanswered(_)));
        let received = received.lock().unwrap();
        assert_eq!(received.len(), 3);
        let last = received[2].0["magic-hour-event-timestamp"].to_str().unwrap();
        assert_eq!(last, if signing == RetrySigning::Original { "1800000000" } else { "1800000003" });
        assert!(received.iter().all(|(_, body)| *body == received[0].1), "a retry has the same body");
    }
}

#[tokio::test]
async fn the_network_loses_and_repeats_webhooks() {
    let magic_hour = StandIn::start(settings(Clock::system())).await.unwrap();
    let (url, received) = receiver(&[200]).await;
    magic_hour.webhooks.set_receiver(Some(url));
    magic_hour
        .webhooks
        .set_network(Network::from_fn(|_, id| vec![Duration::from_millis(1); if id == "lost" { 0 } else { 2 }]));
    for id in ["lost", "twice"] {
        magic_hour.start_render(RenderPlan::new(Kind::Video, id, Lifecycle::starting_in(Stage::Rendering))).unwrap();
    }
    let attempts = magic_hour.call_log.wait_for_webhooks(3).await;
    for WebhookAttempt { id, outcome, .. } in &attempts {
        assert_eq!(matches!(outcome, WebhookOutcome::Lost), id == "lost", "{id}");
    }
    assert_eq!(received.lock().unwrap().len(), 2);
}
