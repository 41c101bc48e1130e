//! A render to start: what it is, how it proceeds and what it produces.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use renderhook::domain::{EventType, Kind};

use super::lifecycle::{Lifecycle, Stage};
use super::project::{Project, VideoFacts, default_type};
use crate::standin::files::media;

/// A file that a render produces.
#[derive(Debug, Clone)]
pub struct OutputFile {
    /// The file name in its URL.
    pub name: String,
    /// The content.
    pub bytes: Bytes,
    /// The content type with which it is served.
    pub content_type: &'static str,
}

impl OutputFile {
    /// A file with this content.
    #[must_use]
    pub fn new(name: &str, bytes: impl Into<Bytes>, content_type: &'static str) -> Self {
        Self { name: name.to_owned(), bytes: bytes.into(), content_type }
    }

    /// A video that plays.
    #[must_use]
    pub fn video(seed: u64) -> Self {
        Self::new("output.mp4", media::video(seed), "video/mp4")
    }

    /// A picture.
    #[must_use]
    pub fn image(seed: u64) -> Self {
        Self::new("thumbnail.png", media::image(seed), "image/png")
    }

    /// A sound that plays.
    #[must_use]
    pub fn audio(seed: u64) -> Self {
        Self::new("soundtrack.wav", media::audio(seed), "audio/wav")
    }
}

/// A render to start.
#[derive(Debug, Clone)]
pub struct RenderPlan {
    /// The kind.
    pub kind: Kind,
    /// The id, chosen by the caller.
    pub id: String,
    /// The type; by default one of the kind's.
    pub project_type: &'static str,
    /// The name.
    pub name: Option<String>,
    /// Of a video.
    pub video: VideoFacts,
    /// How many files an image is said to have; by default as many as it has.
    pub image_count: Option<usize>,
    /// The stages and when they begin.
    pub lifecycle: Lifecycle,
    /// The files that it has once it is complete.
    pub files: Vec<OutputFile>,
    /// The credits charged until it has finished.
    pub estimated_credits: i64,
    /// The credits charged once it is complete. A failed or canceled render is refunded.
    pub final_credits: i64,
    /// Whether the webhook `….started` is sent: Magic Hour often skips it for fast image modes.
    pub sends_started: bool,
    /// Whether no webhook reports anything of it, as if all were lost.
    pub is_silent: bool,
    /// Whether it belongs to a template and cannot be deleted.
    pub is_template: bool,
}

impl RenderPlan {
    /// A render with this lifecycle and no files.
    #[must_use]
    pub fn new(kind: Kind, id: impl Into<String>, lifecycle: Lifecycle) -> Self {
        Self {
            kind,
            id: id.into(),
            project_type: default_type(kind),
            name: None,
            video: VideoFacts::default(),
            image_count: None,
            lifecycle,
            files: Vec::new(),
            estimated_credits: 500,
            final_credits: 450,
            sends_started: true,
            is_silent: false,
            is_template: false,
        }
    }

    /// Adds a file.
    #[must_use]
    pub fn with(mut self, file: OutputFile) -> Self {
        self.files.push(file);
        self
    }

    /// The type of the webhook that is sent when `stage` begins, if there is one.
    #[must_use]
    pub fn webhook(&self, stage: &Stage) -> Option<EventType> {
        let is_sent = !self.is_silent && (self.sends_started || *stage != Stage::Rendering);
        stage.action().filter(|_| is_sent).map(|action| EventType::new(self.kind, action))
    }

    /// The project in `stage`, without the URLs of its files.
    pub(super) fn project(&self, stage: &Stage, created_at: DateTime<Utc>) -> Project {
        let mut project = Project::new(self.kind, &self.id, created_at);
        project.project_type = self.project_type;
        project.name.clone_from(&self.name);
        project.video = self.video;
        project.image_count = self.image_count;
        project.status = Some(stage.status().to_string());
        project.credits_charged = match stage {
            Stage::Draft | Stage::Queued | Stage::Rendering => self.estimated_credits,
            Stage::Complete => self.final_credits,
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
    fn credits_are_estimated_then_final_and_refunded_on_failure() {
        let mut plan = RenderPlan::new(Kind::Image, "x", Lifecycle::queued());
        (plan.estimated_credits, plan.final_credits) = (12, 10);
        let charged = |stage: &Stage| plan.project(stage, DateTime::UNIX_EPOCH).credits_charged;
        assert_eq!(charged(&Stage::Queued), 12);
        assert_eq!(charged(&Stage::Rendering), 12);
        assert_eq!(charged(&Stage::Complete), 10);
        assert_eq!(charged(&Stage::error("no_source_face")), 0);
        assert_eq!(charged(&Stage::Canceled), 0);
    }

    #[test]
    fn a_failed_project_has_its_error_code_and_message() {
        let plan = RenderPlan::new(Kind::Video, "x", Lifecycle::queued());
        let stage = Stage::Error { code: "text_too_long".to_owned(), message: "Use fewer words".to_owned() };
        let error = &plan.project(&stage, DateTime::UNIX_EPOCH).payload()["error"];
        assert_eq!(error, &serde_json::json!({"code": "text_too_long", "message": "Use fewer words"}));
    }
}
