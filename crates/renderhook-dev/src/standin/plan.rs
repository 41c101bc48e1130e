//! What is to be rendered, and what becomes of it.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::life::{Life, Stage};
use super::media;
use super::project::Project;
use renderhook::domain::EventType;
use renderhook::domain::Kind;

/// A file that a render gives.
#[derive(Debug, Clone)]
pub struct Output {
    /// The last part of its URL's path.
    pub name: String,
    /// What is in it.
    pub bytes: Bytes,
    /// What its server says it is.
    pub content_type: &'static str,
}

impl Output {
    /// A file of `bytes`.
    #[must_use]
    pub fn new(name: &str, bytes: impl Into<Bytes>, content_type: &'static str) -> Self {
        Self { name: name.to_owned(), bytes: bytes.into(), content_type }
    }

    /// A clip that plays.
    #[must_use]
    pub fn video(seed: u64) -> Self {
        Self::new("output.mp4", media::video(seed), "video/mp4")
    }

    /// A picture: the middle of the clip with the same seed.
    #[must_use]
    pub fn image(seed: u64) -> Self {
        Self::new("thumbnail.png", media::image(seed), "image/png")
    }

    /// A sound.
    #[must_use]
    pub fn audio(seed: u64) -> Self {
        Self::new("soundtrack.wav", media::audio(seed), "audio/wav")
    }
}

/// A render as who orders it plans it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is rendered.
    pub kind: Kind,
    /// Its id, chosen by the caller.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// What becomes of it.
    pub life: Life,
    /// What it gives when it is complete.
    pub files: Vec<Output>,
    /// The credits that are charged until the end is known.
    pub estimate: i64,
    /// The credits that it costs once it is complete. Who fails or is canceled gets them back.
    pub price: i64,
    /// Whether the webhook of the beginning is sent: fast image modes leave it out.
    pub tells_start: bool,
    /// Whether it is a template's, which cannot be deleted.
    pub is_template: bool,
}

impl Plan {
    /// A render that goes `life`'s way, without files.
    #[must_use]
    pub fn new(kind: Kind, id: impl Into<String>, life: Life) -> Self {
        Self {
            kind,
            id: id.into(),
            name: None,
            life,
            files: Vec::new(),
            estimate: 500,
            price: 450,
            tells_start: true,
            is_template: false,
        }
    }

    /// With a file more.
    #[must_use]
    pub fn with(mut self, file: Output) -> Self {
        self.files.push(file);
        self
    }

    /// The webhook that tells of a stage, if one does.
    #[must_use]
    pub fn webhook(&self, stage: &Stage) -> Option<EventType> {
        let is_told = self.tells_start || *stage != Stage::Rendering;
        stage.action().filter(|_| is_told).map(|action| EventType::new(self.kind, action))
    }

    /// The project at a stage of its life, without the URLs of its files.
    pub(super) fn project(&self, stage: &Stage, created_at: DateTime<Utc>) -> Project {
        let mut project = Project::new(self.kind, &self.id, created_at);
        project.name.clone_from(&self.name);
        project.status = Some(stage.status().to_string());
        project.credits_charged = match stage {
            Stage::Draft | Stage::Queued | Stage::Rendering => self.estimate,
            Stage::Complete => self.price,
            Stage::Error { .. } | Stage::Canceled => 0,
        };
        if let Stage::Error { code, message } = stage {
            project.error_code = Some(code.clone());
            project.error_message = Some(message.clone());
        }
        project
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_are_an_estimate_then_the_price_and_a_failure_gives_them_back() {
        let plan = Plan { estimate: 12, price: 10, ..Plan::new(Kind::Image, "x", Life::queued()) };
        let charged = |stage: &Stage| plan.project(stage, DateTime::UNIX_EPOCH).credits_charged;
        assert_eq!(charged(&Stage::Queued), 12);
        assert_eq!(charged(&Stage::Rendering), 12);
        assert_eq!(charged(&Stage::Complete), 10);
        assert_eq!(charged(&Stage::error("no_source_face")), 0);
        assert_eq!(charged(&Stage::Canceled), 0);
    }

    #[test]
    fn a_failure_tells_its_code_and_its_sentence() {
        let plan = Plan::new(Kind::Video, "x", Life::queued());
        let stage = Stage::Error { code: "text_too_long".to_owned(), message: "Say less".to_owned() };
        let error = &plan.project(&stage, DateTime::UNIX_EPOCH).payload()["error"];
        assert_eq!(error, &serde_json::json!({"code": "text_too_long", "message": "Say less"}));
    }
}
