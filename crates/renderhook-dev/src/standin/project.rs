//! A Magic Hour project: the payload of an event and the answer of the details call.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use url::Url;

use renderhook::domain::Kind;

/// A project.
#[derive(Debug, Clone)]
pub struct Project {
    /// The kind.
    pub kind: Kind,
    /// The id.
    pub id: String,
    /// The name.
    pub name: Option<String>,
    /// The status; any text.
    pub status: Option<String>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// `false` once it was deleted.
    pub enabled: bool,
    /// The credits charged.
    pub credits_charged: i64,
    /// The error's code, if it failed.
    pub error_code: Option<String>,
    /// The error's message; by default one with the code.
    pub error_message: Option<String>,
    /// The URLs of its files.
    pub downloads: Vec<Url>,
    /// When the URLs expire.
    pub expires_at: DateTime<Utc>,
}

impl Project {
    /// A project created at `now`, without a status.
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

    /// The project as JSON, with the fields that are documented for its kind.
    #[must_use]
    pub fn payload(&self) -> Value {
        let mut payload = json!({
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "type": self.project_type(),
            "created_at": timestamp(self.created_at),
            "enabled": self.enabled,
            "credits_charged": self.credits_charged,
            "error": self.error(),
            "downloads": self.download_entries(),
        });
        match self.kind {
            Kind::Video => {
                let fields = [("width", 512), ("height", 960), ("start_seconds", 0), ("end_seconds", 15), ("fps", 30)];
                for (field, value) in fields {
                    payload[field] = value.into();
                }
            }
            Kind::Image => payload["image_count"] = self.downloads.len().max(1).into(),
            Kind::Audio => {}
        }
        payload
    }

    /// One of the kind's types, of which Magic Hour has many.
    const fn project_type(&self) -> &'static str {
        match self.kind {
            Kind::Video => "FACE_SWAP",
            Kind::Image => "AI_IMAGE",
            Kind::Audio => "VOICE_GENERATOR",
        }
    }

    fn error(&self) -> Option<Value> {
        let code = self.error_code.as_ref()?;
        let message = self.error_message.clone().unwrap_or_else(|| format!("It failed: {code}"));
        Some(json!({"code": code, "message": message}))
    }

    fn download_entries(&self) -> Vec<Value> {
        let expires_at = timestamp(self.expires_at);
        self.downloads.iter().map(|url| json!({"url": url, "expires_at": expires_at})).collect()
    }

    /// The body of an event about this project.
    #[must_use]
    pub fn event(&self, event_type: &str) -> Vec<u8> {
        json!({"type": event_type, "payload": self.payload()}).to_string().into_bytes()
    }
}

fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
