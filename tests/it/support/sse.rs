//! A client of server-sent events, by the rules of the HTML standard.

use std::collections::VecDeque;

use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use super::App;
use super::app::TOKEN;
use super::wait::MAX_WAIT;

/// An event as an application gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerSentEvent {
    /// `event`.
    pub(crate) event_type: String,
    /// `data`.
    pub(crate) data: Value,
    /// The client's `lastEventId` at that time.
    pub(crate) last_event_id: String,
}

/// A stream that is read.
pub(crate) struct EventSource {
    response: Response,
    text: String,
    events: VecDeque<ServerSentEvent>,
    /// What the client would send as `Last-Event-ID`.
    pub(crate) last_event_id: String,
    /// The last `retry`.
    pub(crate) retry: Option<u64>,
}

impl EventSource {
    /// Opens a stream; `last_event_id` may be empty.
    pub(crate) async fn open(app: &App, path: &str, last_event_id: &str) -> Self {
        let response = request(app, path, last_event_id).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let last_event_id = last_event_id.to_owned();
        let mut stream = Self { response, text: String::new(), events: VecDeque::new(), last_event_id, retry: None };
        // The stream has begun once its first block is here.
        while stream.retry.is_none() {
            assert!(stream.read().await, "{path} ended");
        }
        stream
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<ServerSentEvent> {
        // Heartbeats do not count.
        timeout(MAX_WAIT, self.wait_for_event()).await.expect("an event, or the end of the stream")
    }

    async fn wait_for_event(&mut self) -> Option<ServerSentEvent> {
        while self.events.is_empty() && self.read().await {}
        self.events.pop_front()
    }

    /// The types of the next events, up to and including `last`.
    pub(crate) async fn types_until(&mut self, last: &str) -> Vec<String> {
        let mut types = Vec::new();
        while types.last().is_none_or(|it| it != last) {
            types.push(self.next().await.unwrap_or_else(|| panic!("no {last} after {types:?}")).event_type);
        }
        types
    }

    /// Every event until the stream ends.
    pub(crate) async fn rest(&mut self) -> Vec<ServerSentEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// Reads more. `false` at the end.
    async fn read(&mut self) -> bool {
        let Ok(Some(chunk)) = self.response.chunk().await else { return false };
        self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some((block, rest)) = self.text.split_once("\n\n") {
            let (block, rest) = (block.to_owned(), rest.to_owned());
            self.text = rest;
            self.take(&block);
        }
        true
    }

    fn take(&mut self, block: &str) {
        let (mut event_type, mut data) = ("message".to_owned(), Vec::new());
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => {}
                "event" => value.clone_into(&mut event_type),
                "data" => data.push(value),
                "id" => value.clone_into(&mut self.last_event_id),
                "retry" => self.retry = Some(value.parse().unwrap()),
                other => panic!("unknown field {other}"),
            }
        }
        if !data.is_empty() {
            let data = serde_json::from_str(&data.join("\n")).unwrap();
            let last_event_id = self.last_event_id.clone();
            self.events.push_back(ServerSentEvent { event_type, data, last_event_id });
        }
    }
}

/// Asks for a stream.
pub(crate) async fn request(app: &App, path: &str, last_event_id: &str) -> Response {
    let mut request = app.client.get(app.at(path)).bearer_auth(TOKEN).header("accept", "text/event-stream");
    if !last_event_id.is_empty() {
        request = request.header("last-event-id", last_event_id);
    }
    request.send().await.unwrap()
}
