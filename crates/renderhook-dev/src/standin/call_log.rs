//! What happened: every API call and upload, and every webhook with the receiver's answer.

use axum::http::{Method, StatusCode};
use chrono::{DateTime, Utc};
use renderhook::domain::EventType;
use tokio::sync::watch;

use super::webhooks::{Answer, SignedRequest};

/// A call of the API, or an upload.
#[derive(Debug, Clone)]
pub struct ApiCall {
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// The method.
    pub method: Method,
    /// The path below the API's base URL, such as `/v1/video-projects/clx123`, or that of an upload.
    pub path: String,
    /// The last segment of the path: the project's id, or the name of a mode.
    pub id: String,
    /// The id of what the call created.
    pub created: Option<String>,
    /// The answer's status, or `None` if the connection was closed without one.
    pub status: Option<StatusCode>,
}

/// The outcome of one attempt to send a webhook.
#[derive(Debug, Clone)]
pub enum WebhookOutcome {
    /// The network lost it: nothing was sent, and it is not retried.
    Lost,
    /// It was sent, and no answer came in time.
    Unanswered(SignedRequest),
    /// It was sent and answered.
    Answered(SignedRequest, Answer),
}

/// One attempt to send a webhook.
#[derive(Debug, Clone)]
pub struct WebhookAttempt {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// The event's type.
    pub event_type: EventType,
    /// The project's id.
    pub id: String,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// How it ended.
    pub outcome: WebhookOutcome,
}

impl WebhookAttempt {
    /// Whether the receiver answered with 2xx.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(&self.outcome, WebhookOutcome::Answered(_, answer) if answer.status.is_success())
    }
}

#[derive(Debug, Clone, Default)]
struct Entries {
    calls: Vec<ApiCall>,
    webhooks: Vec<WebhookAttempt>,
}

/// The log. Cheap to clone: clones share their entries.
#[derive(Debug, Clone, Default)]
pub struct CallLog(watch::Sender<Entries>);

impl CallLog {
    /// Every API call, in the order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<ApiCall> {
        self.0.borrow().calls.clone()
    }

    /// Every webhook attempt, in the order in which they ended.
    #[must_use]
    pub fn webhooks(&self) -> Vec<WebhookAttempt> {
        self.0.borrow().webhooks.clone()
    }

    /// Waits until `count` API calls were answered or cut off.
    pub async fn wait_for_calls(&self, count: usize) -> Vec<ApiCall> {
        self.wait(|entries| entries.calls.len() >= count).await.calls
    }

    /// Waits until `count` webhook attempts have ended.
    pub async fn wait_for_webhooks(&self, count: usize) -> Vec<WebhookAttempt> {
        self.wait(|entries| entries.webhooks.len() >= count).await.webhooks
    }

    /// Waits for a webhook attempt that matches.
    pub async fn wait_for_webhook(&self, matches: impl Fn(&WebhookAttempt) -> bool) -> Option<WebhookAttempt> {
        let entries = self.wait(|entries| entries.webhooks.iter().any(&matches)).await;
        entries.webhooks.into_iter().find(|attempt| matches(attempt))
    }

    /// Waits for API calls after the first `seen`, and returns them.
    pub async fn next_calls(&self, seen: usize) -> Vec<ApiCall> {
        let mut entries = self.0.subscribe();
        let next = entries.wait_for(|entries| entries.calls.len() > seen).await;
        // The sender lives as long as `self`.
        next.map_or_else(|_| Vec::new(), |entries| entries.calls[seen..].to_vec())
    }

    /// Waits for webhook attempts after the first `seen`, and returns them.
    pub async fn next_webhooks(&self, seen: usize) -> Vec<WebhookAttempt> {
        let mut entries = self.0.subscribe();
        let next = entries.wait_for(|entries| entries.webhooks.len() > seen).await;
        next.map_or_else(|_| Vec::new(), |entries| entries.webhooks[seen..].to_vec())
    }

    async fn wait(&self, is_reached: impl FnMut(&Entries) -> bool) -> Entries {
        let mut entries = self.0.subscribe();
        match entries.wait_for(is_reached).await {
            Ok(reached) => reached.clone(),
            // The sender lives as long as `self`.
            Err(_) => self.0.borrow().clone(),
        }
    }

    pub(super) fn add_call(&self, call: ApiCall) {
        self.0.send_modify(|entries| entries.calls.push(call));
    }

    pub(super) fn add_webhook(&self, attempt: WebhookAttempt) {
        self.0.send_modify(|entries| entries.webhooks.push(attempt));
    }
}
