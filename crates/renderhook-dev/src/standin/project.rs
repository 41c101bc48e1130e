//! A project as Magic Hour describes it: the payload of an event, and the answer of the details call.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use url::Url;

use renderhook::domain::Kind;

/// A project.
#[derive(Debug, Clone)]
pub struct Project {
    /// What is rendered.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its status, any word.
    pub status: Option<String>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Whether it was not deleted.
    pub enabled: bool,
    /// Credits.
    pub credits_charged: i64,
    /// Why it failed.
    pub error_code: Option<String>,
    /// The sentence about it (default: one that names the code).
    pub error_message: Option<String>,
    /// Where its files are.
    pub downloads: Vec<Url>,
    /// When those URLs expire.
    pub expires_at: DateTime<Utc>,
}

impl Project {
    /// A project that was created at `now`, with nothing known of it yet.
    #[must_use]
    pub fn new(kind: Kind, id: impl Into<String>, now: DateTime<Utc>) -> Self {
        Self {
            kind,
            id: id.into(),
            name: None,
            status: None,
            created_at: now,
            enabled: true,
            credits_charged: 450,
            error_code: None,
            error_message: None,
            downloads: Vec::new(),
            expires_at: now + TimeDelta::hours(24),
        }
    }

    /// The project as the documentation has it, with every field of its kind.
    #[must_use]
    pub fn payload(&self) -> Value {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
        let error = self.error_code.as_ref().map(|code| {
            let message = self.error_message.clone().unwrap_or_else(|| format!("It failed: {code}"));
            json!({"code": code, "message": message})
        });
        let downloads: Vec<_> =
            self.downloads.iter().map(|url| json!({"url": url, "expires_at": time(self.expires_at)})).collect();
        let mut payload = json!({
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "type": match self.kind {
                Kind::Video => "FACE_SWAP",
                Kind::Image => "AI_IMAGE",
                Kind::Audio => "VOICE_GENERATOR",
            },
            "created_at": time(self.created_at),
            "enabled": self.enabled,
            "credits_charged": self.credits_charged,
            "error": error,
            "downloads": downloads,
        });
        match self.kind {
            Kind::Video => {
                for (field, value) in
                    [("width", 512), ("height", 960), ("start_seconds", 0), ("end_seconds", 15), ("fps", 30)]
                {
                    payload[field] = value.into();
                }
            }
            Kind::Image => payload["image_count"] = self.downloads.len().max(1).into(),
            Kind::Audio => {}
        }
        payload
    }

    /// The body of an event about it.
    #[must_use]
    pub fn event(&self, event_type: &str) -> Vec<u8> {
        json!({"type": event_type, "payload": self.payload()}).to_string().into_bytes()
    }
}
