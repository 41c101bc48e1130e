//! Handwritten HTTP, for requests that no client would send.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use super::app::{App, TOKEN, signed, video};
use super::wait::MAX_WAIT;

/// A raw answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    /// The head, in lowercase.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The message of an error, which must be its only field.
    pub(crate) fn message(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let json = self.json();
        assert_eq!(json.as_object().map(serde_json::Map::len), Some(1), "{json}");
        json["message"].as_str().unwrap().to_owned()
    }
}

/// A connection to the service.
pub(crate) struct Wire(TcpStream);

impl Wire {
    /// Connects.
    pub(crate) async fn to(base: &Url) -> Self {
        let address = (base.host_str().unwrap(), base.port().unwrap());
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// Sends raw bytes. Returns whether all of them were accepted.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).await.is_ok()
    }

    /// The next answer, or `None` if the connection ends first.
    pub(crate) async fn receive(&mut self) -> Option<Reply> {
        self.receive_within(MAX_WAIT).await
    }

    /// The next answer, with a time limit.
    pub(crate) async fn receive_within(&mut self, patience: Duration) -> Option<Reply> {
        timeout(patience, self.read()).await.expect("an answer, or the connection's end")
    }

    /// The next byte, or `None` at the end of the connection.
    pub(crate) async fn byte(&mut self) -> Option<u8> {
        timeout(MAX_WAIT, self.0.read_u8()).await.expect("a byte, or the connection's end").ok()
    }

    async fn read(&mut self) -> Option<Reply> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let mut reply = Reply { status: head.split(' ').nth(1)?.parse().ok()?, head, body: Vec::new() };
        let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        reply.body.resize(length, 0);
        self.0.read_exact(&mut reply.body).await.ok()?;
        Some(reply)
    }
}

/// Sends a complete request on a new connection.
pub(crate) async fn exchange(base: &Url, request: impl AsRef<[u8]>) -> Option<Reply> {
    let mut wire = Wire::to(base).await;
    wire.send(request).await;
    wire.receive().await
}

/// Requests a render with the token, and returns the status and the JSON. Handwritten, because clients resolve `%2e%2e`.
pub(crate) async fn get_render(base: &Url, id: &str) -> (u16, Value) {
    let id = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
    let request = format!("GET /renders/{id} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    let reply = exchange(base, request).await.unwrap();
    (reply.status, reply.json())
}

/// Sends the head of a delivery, and waits until the handler waits for the rest.
pub(crate) async fn begin_delivery(app: &App) -> Wire {
    let delivery = signed(&video("begun", "rendering").event("video.started"));
    let mut wire = Wire::to(&app.base).await;
    wire.send(format!(
        "POST /webhook HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\nmagic-hour-event-signature: {}\r\n\
         magic-hour-event-timestamp: {}\r\nexpect: 100-continue\r\n\r\n",
        delivery.body.len(),
        delivery.signature,
        delivery.timestamp
    ))
    .await;
    assert_eq!(wire.receive().await.unwrap().status, 100, "the handler has it");
    wire
}
