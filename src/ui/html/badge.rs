//! States as colored words. The color repeats what the word says.

use maud::{Markup, html};

use crate::domain::{ArchiveState, DeliveryOutcome, DownloadState, NotificationState, Status};

/// What a color means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ui) enum Tone {
    Good,
    Busy,
    Warning,
    Bad,
    Neutral,
}

impl Tone {
    pub(in crate::ui) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Warning => "warning",
            Self::Bad => "bad",
            Self::Neutral => "neutral",
        }
    }
}

pub(in crate::ui) fn badge(tone: Tone, text: &str) -> Markup {
    html! { span class={ "badge " (tone.class()) } { (text) } }
}

pub(in crate::ui) fn status_badge(status: Option<Status>) -> Markup {
    let tone = match status {
        Some(Status::Complete) => Tone::Good,
        Some(Status::Rendering | Status::Queued) => Tone::Busy,
        Some(Status::Error) => Tone::Bad,
        Some(Status::Canceled | Status::Draft) | None => Tone::Neutral,
    };
    badge(tone, status.map_or("unknown", Status::as_str))
}

pub(in crate::ui) fn archive_badge(archive: ArchiveState) -> Markup {
    match archive {
        ArchiveState::None => html! { span.muted { "none yet" } },
        ArchiveState::Stored => badge(Tone::Good, "stored"),
        ArchiveState::Pending => badge(Tone::Busy, "pending"),
        ArchiveState::AwaitingUrls => badge(Tone::Warning, "awaiting URLs"),
        ArchiveState::Partial => badge(Tone::Warning, "partial"),
        ArchiveState::Failed => badge(Tone::Bad, "failed"),
    }
}

pub(in crate::ui) fn download_badge(state: DownloadState) -> Markup {
    let tone = match state {
        DownloadState::Stored => Tone::Good,
        DownloadState::Downloading => Tone::Busy,
        DownloadState::Pending => Tone::Warning,
        DownloadState::Failed => Tone::Bad,
    };
    badge(tone, state.as_str())
}

pub(in crate::ui) fn notification_badge(state: NotificationState) -> Markup {
    let tone = match state {
        NotificationState::Delivered => Tone::Good,
        NotificationState::Pending => Tone::Busy,
        NotificationState::Failed => Tone::Bad,
    };
    badge(tone, state.as_str())
}

pub(in crate::ui) fn outcome_badge(outcome: DeliveryOutcome) -> Markup {
    let tone = match outcome {
        DeliveryOutcome::Recorded => Tone::Good,
        DeliveryOutcome::Duplicate | DeliveryOutcome::Late => Tone::Neutral,
        DeliveryOutcome::Unknown | DeliveryOutcome::Stale => Tone::Warning,
        DeliveryOutcome::Unreadable => Tone::Bad,
    };
    badge(tone, outcome.as_str())
}
