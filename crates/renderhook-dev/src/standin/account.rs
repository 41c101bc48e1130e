//! What went to and fro: every call of the API, and every webhook with what the receiver answered.
//!
//! A test says with it how often and when a project was asked for; the demo tells its story from it.

use axum::http::{Method, StatusCode};
use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::sender::{Answer, Delivery};
use renderhook::domain::EventType;

/// A call of the API.
#[derive(Debug, Clone)]
pub struct Call {
    /// When it came.
    pub at: DateTime<Utc>,
    /// `GET` for the details, `DELETE` for the deletion.
    pub method: Method,
    /// Of which project.
    pub id: String,
    /// How it was answered; none where the connection was closed.
    pub status: Option<StatusCode>,
}

/// What became of a webhook, or of one attempt at it.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It was lost on the way: nothing was sent, and nothing will be.
    Lost,
    /// It was sent, and nobody answered in time.
    Unanswered(Delivery),
    /// It was sent and answered.
    Answered(Delivery, Answer),
}

/// An attempt at a webhook.
#[derive(Debug, Clone)]
pub struct Sent {
    /// When it was over.
    pub at: DateTime<Utc>,
    /// What it told.
    pub event_type: EventType,
    /// About which project.
    pub id: String,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// What became of it.
    pub outcome: Outcome,
}

impl Sent {
    /// Whether the receiver has taken it.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        matches!(&self.outcome, Outcome::Answered(_, answer) if answer.status.is_success())
    }
}

#[derive(Debug, Clone, Default)]
struct Entries {
    calls: Vec<Call>,
    sent: Vec<Sent>,
}

/// The account. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Account(watch::Sender<Entries>);

impl Account {
    /// Every call, in the order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.0.borrow().calls.clone()
    }

    /// Every attempt at a webhook, in the order in which they ended.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.0.borrow().sent.clone()
    }

    /// Waits for an attempt at a webhook that `is_meant`.
    pub async fn wait_for(&self, is_meant: impl Fn(&Sent) -> bool) -> Option<Sent> {
        let mut entries = self.0.subscribe();
        let found = entries.wait_for(|entries| entries.sent.iter().any(&is_meant)).await;
        found.ok()?.sent.iter().find(|sent| is_meant(sent)).cloned()
    }

    pub(super) fn called(&self, call: Call) {
        self.0.send_modify(|entries| entries.calls.push(call));
    }

    pub(super) fn posted(&self, sent: Sent) {
        self.0.send_modify(|entries| entries.sent.push(sent));
    }
}
