//! A stand-in, its clock, calls of its API, and a receiver of its webhooks.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use renderhook::runtime::Clock;
use renderhook_dev::standin::{ApiDescription, Mode, Settings, StandIn};
use reqwest::{Client, Method, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::net::TcpListener;
use url::Url;

pub(crate) const SECRET: &str = "whsec_test_secret";

/// A clock that a test sets.
#[derive(Clone)]
pub(crate) struct ManualClock(Arc<Mutex<DateTime<Utc>>>);

impl ManualClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap())))
    }

    pub(crate) fn clock(&self) -> Clock {
        let time = self.0.clone();
        Clock::from_fn(move || *time.lock().unwrap())
    }

    pub(crate) fn advance(&self, seconds: i64) {
        *self.0.lock().unwrap() += TimeDelta::seconds(seconds);
    }
}

/// The settings of a stand-in with this clock.
pub(crate) fn settings(clock: Clock) -> Settings {
    Settings::new(clock, SecretString::from(SECRET))
}

/// The key of its API.
pub(crate) fn key(magic_hour: &StandIn) -> &str {
    magic_hour.api_key.expose_secret()
}

/// Calls the API with its key, and returns the status and the body, which is as Magic Hour describes it.
pub(crate) async fn call(magic_hour: &StandIn, method: Method, path: &str) -> (u16, Value) {
    send(magic_hour, method, path, None).await
}

/// The same with a body.
pub(crate) async fn send(magic_hour: &StandIn, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
    let url = format!("{}/v1/{path}", magic_hour.base);
    let mut request = Client::new().request(method.clone(), url).bearer_auth(key(magic_hour));
    if let Some(body) = body {
        request = request.json(body);
    }
    answered(&method, path, request.send().await.unwrap()).await
}

/// The status and the body of an answer, which is as Magic Hour describes it.
pub(crate) async fn answered(method: &Method, path: &str, answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null);
    let call = format!("{method} {path}: {status} {body}");
    match ApiDescription::magic_hour().operation(method, &format!("/v1/{path}")).map(|call| call.answers.get(&status)) {
        Some(Some(Some(schema))) => assert_eq!(schema.violations(&body), Vec::<String>::new(), "{call}"),
        Some(Some(None)) => assert_eq!(body, Value::Null, "{call}"),
        // A mode that only the SDKs have.
        None if status == 200 && Mode::at(path).is_some() => assert!(body["id"].is_string(), "{call}"),
        // A fault, or what the description does not have.
        Some(None) | None => assert!(body["message"].is_string() && status >= 400, "{call}"),
    }
    (status, body)
}

pub(crate) async fn get(magic_hour: &StandIn, path: &str) -> (u16, Value) {
    call(magic_hour, Method::GET, path).await
}

/// A receiver that answers with these statuses, the last one for all further webhooks. Returns what it received, too.
pub(crate) async fn receiver(answers: &[u16]) -> (Url, Arc<Mutex<Vec<(HeaderMap, Bytes)>>>) {
    let (answers, received) = (answers.to_vec(), Arc::new(Mutex::new(Vec::new())));
    let kept = received.clone();
    let take = post(move |headers: HeaderMap, body: Bytes| async move {
        assert_is_described(&body);
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

/// Panics if the body is not what Magic Hour describes for its type.
fn assert_is_described(body: &[u8]) {
    let event: Value = serde_json::from_slice(body).unwrap();
    let event_type = event["type"].as_str().unwrap();
    let schema = ApiDescription::magic_hour().webhook(event_type).expect("a described type");
    assert_eq!(schema.violations(&event), Vec::<String>::new(), "{event}");
}
