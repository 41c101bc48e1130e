//! An application that receives notifications, and answers them as a test wants.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;
use url::Url;

use super::until;

/// The secret that the receiver checks signatures with.
pub(crate) const NOTIFY_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A request that the receiver got, with a valid signature.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) timestamp: i64,
    pub(crate) body: Value,
}

impl Received {
    /// The type of the notification.
    pub(crate) fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }

    /// The render that it is about.
    pub(crate) fn render_id(&self) -> &str {
        self.body["data"]["id"].as_str().unwrap()
    }
}

/// How the receiver answers a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reaction {
    /// With a status.
    Status(u16),
    /// With a status and `Retry-After` in seconds.
    RetryAfter(u16, u32),
    /// With a redirect to itself.
    Redirect,
    /// Never.
    Hang,
    /// With a head and half of a body, then it closes the connection.
    Break,
}

#[derive(Debug, Default)]
struct Shared {
    received: Vec<Received>,
    reactions: VecDeque<Reaction>,
    afterwards: Option<Reaction>,
}

/// The receiver.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    pub(crate) url: Url,
    shared: Arc<Mutex<Shared>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let shared = Arc::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = Url::parse(&format!("http://{}/hooks", listener.local_addr().unwrap())).unwrap();
        let routes = Router::new().route("/hooks", post(receive)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, shared }
    }

    /// The flags of `serve` that post to it.
    pub(crate) fn flags(&self) -> Vec<String> {
        vec![format!("--notify-url={}", self.url), format!("--notify-secret={NOTIFY_SECRET}")]
    }

    /// Answers the next requests like this, one after the other.
    pub(crate) fn react(&self, reactions: &[Reaction]) {
        self.shared.lock().unwrap().reactions.extend(reactions);
    }

    /// Answers every request like this that has no reaction of its own; 204 until then.
    pub(crate) fn react_always(&self, reaction: Reaction) {
        self.shared.lock().unwrap().afterwards = Some(reaction);
    }

    /// What it got until now.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.lock().unwrap().received.clone()
    }

    /// Waits until it has got `count` requests.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Received> {
        let name = format!("{count} notifications");
        until(&name, || async { Some(self.received()).filter(|received| received.len() >= count) }).await
    }
}

/// Checks the signature as the specification says, without any code of the service.
fn verified(headers: &HeaderMap, body: &[u8]) -> Received {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, timestamp) = (text("webhook-id"), text("webhook-timestamp"));
    let key = BASE64_STANDARD.decode(&NOTIFY_SECRET["whsec_".len()..]).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    let expected = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    assert!(text("webhook-signature").split(' ').any(|it| it == expected), "an invalid signature");
    assert_eq!(text("content-type"), "application/json");
    Received { id, timestamp: timestamp.parse().unwrap(), body: serde_json::from_slice(body).unwrap() }
}

async fn receive(State(shared): State<Arc<Mutex<Shared>>>, headers: HeaderMap, body: Bytes) -> Response {
    let received = verified(&headers, &body);
    let reaction = {
        let mut shared = shared.lock().unwrap();
        shared.received.push(received);
        shared.reactions.pop_front().or(shared.afterwards).unwrap_or(Reaction::Status(204))
    };
    match reaction {
        Reaction::Status(status) => (StatusCode::from_u16(status).unwrap(), "the answer").into_response(),
        Reaction::RetryAfter(status, seconds) => {
            (StatusCode::from_u16(status).unwrap(), [("retry-after", seconds.to_string())]).into_response()
        }
        Reaction::Redirect => (StatusCode::TEMPORARY_REDIRECT, [("location", "/hooks")]).into_response(),
        Reaction::Hang => std::future::pending().await,
        Reaction::Break => {
            let parts = [Ok(Bytes::from_static(b"half of")), Err(std::io::Error::other("it dies"))];
            (StatusCode::BAD_GATEWAY, Body::from_stream(futures::stream::iter(parts))).into_response()
        }
    }
}
