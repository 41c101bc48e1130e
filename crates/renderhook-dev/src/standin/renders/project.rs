//! A Magic Hour project: the payload of an event and the answer of the details call.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use url::Url;

use renderhook::domain::Kind;

/// What Magic Hour says about the picture and the length of a video.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VideoFacts {
    /// In pixels; -1 means "ignore".
    pub width: i64,
    /// In pixels; -1 means "ignore".
    pub height: i64,
    /// Frames per second.
    pub fps: f64,
    /// Where it begins in its source.
    pub start_seconds: f64,
    /// Where it ends in its source.
    pub end_seconds: f64,
}

impl Default for VideoFacts {
    fn default() -> Self {
        Self { width: 512, height: 960, fps: 30.0, start_seconds: 0.0, end_seconds: 15.0 }
    }
}

/// A project.
#[derive(Debug, Clone)]
pub struct Project {
    /// The kind.
    pub kind: Kind,
    /// The id.
    pub id: String,
    /// The type, such as `FACE_SWAP`; by default one of the kind's.
    pub project_type: &'static str,
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
    /// Of a video.
    pub video: VideoFacts,
    /// How many files an image project is to have; by default as many as it has, and at least one.
    pub image_count: Option<usize>,
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
            project_type: default_type(kind),
            name: None,
            status: None,
            created_at: now,
            enabled: true,
            credits_charged: 450,
            error_code: None,
            error_message: None,
            video: VideoFacts::default(),
            image_count: None,
            downloads: Vec::new(),
            expires_at: now + TimeDelta::hours(24),
        }
    }

    /// The project as JSON, with the fields that are documented for its kind, and the deprecated ones that Magic Hour still
    /// sends: `total_frame_cost`, and of a video `download`.
    #[must_use]
    pub fn payload(&self) -> Value {
        let mut payload = json!({
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "type": self.project_type,
            "created_at": timestamp(self.created_at),
            "enabled": self.enabled,
            "credits_charged": self.credits_charged,
            "error": self.error(),
            "downloads": self.download_entries(),
        });
        match self.kind {
            Kind::Video => {
                let VideoFacts { width, height, fps, start_seconds, end_seconds } = self.video;
                payload["width"] = width.into();
                payload["height"] = height.into();
                payload["fps"] = number(fps);
                payload["start_seconds"] = number(start_seconds);
                payload["end_seconds"] = number(end_seconds);
                payload["total_frame_cost"] = self.credits_charged.into();
                payload["download"] = self.download_entries().into_iter().next().into();
            }
            Kind::Image => {
                payload["image_count"] = self.image_count.unwrap_or_else(|| self.downloads.len().max(1)).into();
                payload["total_frame_cost"] = self.credits_charged.into();
            }
            Kind::Audio => {}
        }
        payload
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

/// One of the kind's types, of which Magic Hour has many.
pub(super) const fn default_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Video => "FACE_SWAP",
        Kind::Image => "AI_IMAGE",
        Kind::Audio => "VOICE_GENERATOR",
    }
}

/// A number as JavaScript writes it: 15, and not 15.0.
fn number(value: f64) -> Value {
    serde_json::from_str(&value.to_string()).unwrap_or_default()
}

fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
