//! The stand-in Magic Hour does what the real one is documented to do, and what a test tells it to do wrong.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use renderhook::domain::Kind;
use renderhook::intake::signature::sign;
use renderhook::runtime::Clock;
use renderhook_dev::standin::account::{Outcome, Sent};
use renderhook_dev::standin::faults::Fault;
use renderhook_dev::standin::life::{Life, Stage};
use renderhook_dev::standin::plan::{Output, Plan};
use renderhook_dev::standin::way::Way;
use renderhook_dev::standin::webhooks::{Retries, Signing};
use renderhook_dev::standin::{Settings, StandIn};
use reqwest::{Client, Method};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

const SECRET: &str = "whsec_test_secret";

/// Asks until there is an answer.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A clock that stands until a test moves it.
#[derive(Clone)]
struct Hand(Arc<Mutex<DateTime<Utc>>>);

impl Hand {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap())))
    }

    fn clock(&self) -> Clock {
        let hand = self.clone();
        Clock::from_fn(move || *hand.0.lock().unwrap())
    }

    fn forward(&self, seconds: i64) {
        *self.0.lock().unwrap() += TimeDelta::seconds(seconds);
    }
}

fn settings(clock: Clock) -> Settings {
    Settings::new(clock, SecretString::from(SECRET))
}

/// A call of its API with its key: the status, and the body if it has one.
async fn call(magic_hour: &StandIn, method: Method, path: &str) -> (u16, Value) {
    let flags = magic_hour.flags();
    let key = flags[0].strip_prefix("--magic-hour-api-key=").unwrap();
    let url = format!("{}/v1/{path}", magic_hour.base);
    let answer = Client::new().request(method, url).bearer_auth(key).send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
}

async fn get(magic_hour: &StandIn, path: &str) -> (u16, Value) {
    call(magic_hour, Method::GET, path).await
}

/// A receiver of webhooks that gives these answers, the last of them again and again; and what it was sent.
async fn receiver(answers: &[u16]) -> (Url, Arc<Mutex<Vec<(HeaderMap, Bytes)>>>) {
    let (answers, received) = (answers.to_vec(), Arc::new(Mutex::new(Vec::new())));
    let kept = received.clone();
    let take = post(move |headers: HeaderMap, body: Bytes| async move {
        let mut kept = kept.lock().unwrap();
        kept.push((headers, body));
        let answer = answers.get(kept.len() - 1).or(answers.last()).copied().unwrap_or(200);
        StatusCode::from_u16(answer).unwrap()
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = Url::parse(&format!("http://{}/webhook", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/webhook", take)).await });
    (url, received)
}

/// Waits until so many attempts at webhooks are over.
async fn sent(magic_hour: &StandIn, count: usize) -> Vec<Sent> {
    until(&format!("{count} attempts"), || async {
        let sent = magic_hour.account.sent();
        (sent.len() >= count).then_some(sent)
    })
    .await
}

#[tokio::test]
async fn a_render_lives_by_itself_and_the_details_call_tells_what_is_true_at_the_moment() {
    let hand = Hand::new();
    let magic_hour = StandIn::start(settings(hand.clock())).await.unwrap();
    let life =
        Life::queued().then(TimeDelta::seconds(10), Stage::Rendering).then(TimeDelta::seconds(60), Stage::Complete);
    magic_hour.begin(Plan::new(Kind::Audio, "a", life).with(Output::new("a.wav", "la", "audio/wav"))).unwrap();
    let table = [(0, "queued", 500, 0), (10, "rendering", 500, 0), (49, "rendering", 500, 0), (1, "complete", 450, 1)];
    for (seconds, status, credits, files) in table {
        hand.forward(seconds);
        let (code, project) = get(&magic_hour, "audio-projects/a").await;
        assert_eq!((code, &project["status"]), (200, &json!(status)));
        assert_eq!(
            (&project["credits_charged"], project["downloads"].as_array().unwrap().len()),
            (&json!(credits), files)
        );
        assert_eq!(project["created_at"], "2027-01-15T08:00:00.000Z");
        assert_eq!(magic_hour.truth("a").unwrap().status.as_deref(), Some(status));
    }
    // Who fails or is canceled gets the credits back.
    for (stage, code) in [(Stage::error("no_source_face"), json!("no_source_face")), (Stage::Canceled, Value::Null)] {
        magic_hour.begin(Plan::new(Kind::Image, "b", Life::queued())).unwrap();
        let status = stage.status();
        assert!(magic_hour.turn("b", stage));
        let (_, project) = get(&magic_hour, "image-projects/b").await;
        assert_eq!((&project["status"], &project["credits_charged"]), (&json!(status), &json!(0)));
        assert_eq!(project["error"]["code"], code);
    }
    assert!(!magic_hour.turn("unknown", Stage::Canceled));
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_as_documented_and_every_call_is_in_the_account() {
    let magic_hour = StandIn::start(settings(Clock::system())).await.unwrap();
    for (id, is_template) in [("v", false), ("t", true)] {
        magic_hour.begin(Plan { is_template, ..Plan::new(Kind::Video, id, Life::queued()) }).unwrap();
    }
    let unauthorized = Client::new().get(format!("{}/v1/video-projects/v", magic_hour.base)).send().await.unwrap();
    assert_eq!(unauthorized.status(), 401);
    assert_eq!(unauthorized.json::<Value>().await.unwrap(), json!({"message": "Unauthorized"}));
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
    assert!(!magic_hour.truth("v").unwrap().enabled);
    assert!(magic_hour.truth("t").unwrap().enabled);
    let told: Vec<_> = magic_hour.account.calls().iter().map(|call| call.status.unwrap().as_u16()).collect();
    assert_eq!(told, [401, 404, 404, 404, 404, 422, 404, 204, 404, 404]);
    assert_eq!((magic_hour.count(&Method::GET, "v"), magic_hour.count(&Method::DELETE, "v")), (5, 3));
}

#[tokio::test]
async fn the_api_goes_wrong_as_it_is_told_and_is_well_again() {
    let hand = Hand::new();
    let magic_hour = StandIn::start(settings(hand.clock())).await.unwrap();
    magic_hour.begin(Plan::new(Kind::Video, "v", Life::queued())).unwrap();
    magic_hour.refuse([(429, Some(7)), (402, None)]);
    let key = magic_hour.flags()[0].split_once('=').unwrap().1.to_owned();
    let ask = || Client::new().get(format!("{}/v1/video-projects/v", magic_hour.base)).bearer_auth(&key).send();
    let refused = ask().await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    assert_eq!(get(&magic_hour, "video-projects/v").await, (402, json!({"message": "Payment required"})));

    magic_hour.faults.last(Fault::HangsUp);
    for _ in 0..2 {
        assert!(ask().await.is_err(), "the connection is closed without an answer");
    }
    assert_eq!(magic_hour.account.calls().last().unwrap().status, None);
    magic_hour.faults.heal();

    hand.forward(60);
    assert!(magic_hour.turn("v", Stage::Rendering));
    magic_hour.faults.next([Fault::Lags(TimeDelta::seconds(1)), Fault::Lags(TimeDelta::seconds(61))]);
    assert_eq!(get(&magic_hour, "video-projects/v").await.1["status"], "queued");
    assert_eq!(get(&magic_hour, "video-projects/v").await.0, 404, "it was not there yet");
    assert_eq!(get(&magic_hour, "video-projects/v").await.1["status"], "rendering");

    magic_hour.faults.next([Fault::Dawdles(Duration::from_hours(1))]);
    let impatient = tokio::spawn(ask());
    until("the slow call to come", || async { (magic_hour.calls() == 8).then_some(()) }).await;
    assert!(!impatient.is_finished());
    impatient.abort();
}

#[tokio::test]
async fn each_details_call_hands_out_urls_of_its_own_that_work_until_they_expire() {
    let hand = Hand::new();
    let magic_hour = StandIn::start(Settings { urls_live: TimeDelta::minutes(10), ..settings(hand.clock()) }).await;
    let magic_hour = magic_hour.unwrap();
    let plan = Plan::new(Kind::Image, "i", Life::beginning(Stage::Complete));
    magic_hour.begin(plan.with(Output::new("one.png", "1", "image/png"))).unwrap();
    let url = async || {
        let (_, project) = get(&magic_hour, "image-projects/i").await;
        let download = &project["downloads"][0];
        let expires_at: DateTime<Utc> = download["expires_at"].as_str().unwrap().parse().unwrap();
        (Url::parse(download["url"].as_str().unwrap()).unwrap(), expires_at)
    };
    let status = async |url: &Url| reqwest::get(url.clone()).await.unwrap().status().as_u16();
    let (first, dies_at) = url().await;
    let (second, _) = url().await;
    assert_ne!(first, second);
    assert_eq!(first.path(), second.path());
    hand.forward(599);
    let (third, _) = url().await;
    for url in [&first, &second, &third] {
        assert_eq!(status(url).await, 200);
    }
    assert_eq!(reqwest::get(first.clone()).await.unwrap().text().await.unwrap(), "1");
    hand.forward(1);
    assert_eq!(dies_at, hand.clock().now());
    assert_eq!((status(&first).await, status(&third).await), (403, 200));
    let mut forged = third.clone();
    forged.set_query(Some(&third.query().unwrap().replace("X-Goog-Expires=1", "X-Goog-Expires=9")));
    assert_eq!(status(&forged).await, 403);
    assert_eq!(call(&magic_hour, Method::DELETE, "image-projects/i").await.0, 204);
    assert_eq!(status(&third).await, 404, "its files are gone with it");
}

#[tokio::test]
async fn webhooks_tell_the_stages_that_have_one_with_the_project_as_it_was_then() {
    let magic_hour = StandIn::start(settings(Clock::system())).await.unwrap();
    let (url, received) = receiver(&[200]).await;
    magic_hour.webhooks.post_to(Some(url));
    // All at once: each webhook tells its own stage all the same.
    let now = TimeDelta::zero();
    let life = || Life::queued().then(now, Stage::Rendering).then(now, Stage::Complete);
    let file = || Output::new("a.bin", "a", "application/octet-stream");
    magic_hour.begin(Plan::new(Kind::Video, "whole", life()).with(file())).unwrap();
    magic_hour.begin(Plan { tells_start: false, ..Plan::new(Kind::Image, "short", life()) }.with(file())).unwrap();
    magic_hour.begin(Plan::new(Kind::Audio, "silent", Life::queued().then(now, Stage::Canceled))).unwrap();
    magic_hour.begin(Plan::new(Kind::Audio, "failed", Life::queued())).unwrap();
    assert!(magic_hour.turn("failed", Stage::error("text_too_long")));
    sent(&magic_hour, 4).await;
    let mut told = Vec::new();
    for (headers, body) in received.lock().unwrap().iter() {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        let signature = sign(&SecretString::from(SECRET), &header("magic-hour-event-timestamp"), body);
        assert_eq!(header("magic-hour-event-signature"), signature);
        let event: Value = serde_json::from_slice(body).unwrap();
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let files = event["payload"]["downloads"].as_array().unwrap().len();
        told.push((word(&event["payload"]["id"]), word(&event["type"]), word(&event["payload"]["status"]), files));
    }
    told.sort();
    let expected = [
        ("failed", "audio.errored", "error", 0),
        ("short", "image.completed", "complete", 1),
        ("whole", "video.completed", "complete", 1),
        ("whole", "video.started", "rendering", 0),
    ];
    let told: Vec<_> = told.iter().map(|(id, event, status, files)| (&**id, &**event, &**status, *files)).collect();
    assert_eq!(told, expected);
    assert_eq!(magic_hour.account.sent().len(), 4, "nothing is sent of what has no webhook");
}

#[tokio::test]
async fn what_is_not_taken_is_sent_again_with_growing_gaps_to_where_the_receiver_is_by_then() {
    for signing in [Signing::Afresh, Signing::Once] {
        let hand = Hand::new();
        let retries = Retries { unit: Duration::from_millis(20), signing };
        let magic_hour = StandIn::start(Settings { retries, ..settings(hand.clock()) }).await.unwrap();
        // Nobody is there; then one who is in trouble; then one who takes it.
        magic_hour.begin(Plan::new(Kind::Video, "v", Life::beginning(Stage::Rendering))).unwrap();
        sent(&magic_hour, 2).await;
        hand.forward(3);
        let (url, received) = receiver(&[503, 401, 200]).await;
        magic_hour.webhooks.post_to(Some(url));
        let taken = magic_hour.account.wait_for(Sent::is_taken).await.unwrap();
        let sent = magic_hour.account.sent();
        assert_eq!(sent.iter().map(|sent| sent.attempt).collect::<Vec<_>>(), (1..=taken.attempt).collect::<Vec<_>>());
        assert!(matches!(sent[0].outcome, Outcome::Unanswered(_)));
        let received = received.lock().unwrap();
        assert_eq!(received.len(), 3);
        let last = received[2].0["magic-hour-event-timestamp"].to_str().unwrap();
        assert_eq!(last, if signing == Signing::Once { "1800000000" } else { "1800000003" });
        assert!(received.iter().all(|(_, body)| *body == received[0].1), "a repetition has the same body");
    }
}

#[tokio::test]
async fn a_way_loses_and_repeats_webhooks() {
    let magic_hour = StandIn::start(settings(Clock::system())).await.unwrap();
    let (url, received) = receiver(&[200]).await;
    magic_hour.webhooks.post_to(Some(url));
    magic_hour.webhooks.go(Way::from_fn(|_, id| vec![Duration::from_millis(1); if id == "lost" { 0 } else { 2 }]));
    for id in ["lost", "twice"] {
        magic_hour.begin(Plan::new(Kind::Video, id, Life::beginning(Stage::Rendering))).unwrap();
    }
    let sent = sent(&magic_hour, 3).await;
    for Sent { id, outcome, .. } in &sent {
        assert_eq!(matches!(outcome, Outcome::Lost), id == "lost", "{id}");
    }
    assert_eq!(received.lock().unwrap().len(), 2);
}
