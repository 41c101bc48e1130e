//! What is posted.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::NotificationId;

/// The body of a notification.
#[derive(Debug, Serialize)]
struct Body<'a, T> {
    r#type: &'a str,
    timestamp: DateTime<Utc>,
    data: T,
}

/// A message, as it is posted in each attempt. Only the timestamp and the signature differ between attempts.
#[derive(Debug, Clone)]
pub struct NotificationMessage {
    /// The `webhook-id`.
    pub id: NotificationId,
    /// The body, as JSON.
    pub body: Vec<u8>,
}

impl NotificationMessage {
    /// A message about something that happened at `at`.
    pub fn new(id: NotificationId, kind: &str, at: DateTime<Utc>, data: impl Serialize) -> serde_json::Result<Self> {
        let body = serde_json::to_vec(&Body { r#type: kind, timestamp: at, data })?;
        Ok(Self { id, body })
    }
}
