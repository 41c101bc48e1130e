//! The files of a render, with pictures and players.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::media::{MediaKind, MediaLinks};
use crate::domain::DownloadState;
use crate::ui::html::{Icon, bytes, download_badge, icon, plural, render_path, until, when};
use crate::ui::queries::UrlExpiry;
use crate::ui::retry;
use crate::ui::session::Operator;
use crate::views::{DownloadView, RenderView, TransferProgress};

pub(super) fn downloads(
    render: &RenderView,
    media: &MediaLinks,
    expiries: &UrlExpiry,
    operator: &Operator,
    now: DateTime<Utc>,
) -> Markup {
    html! {
        section.panel {
            header { h2 { "Files" } span.muted { (plural(i64::try_from(render.downloads.len()).unwrap_or(i64::MAX), "file", "files")) } }
            @if render.downloads.is_empty() {
                p.inside.muted data-live-part="no-files" {
                    "Magic Hour reports the files when the render is complete. They are copied here before their URLs expire."
                }
            }
            div.files data-live-list="files" {
                @for download in &render.downloads {
                    // Replaced only if something about it has changed: a new link to the same file must not stop a player.
                    article.file data-live-part={ "file-" (download.index) } data-version=(version(download))
                        data-in-progress[download.state == DownloadState::Downloading] {
                        (file(render, download, media.get(download.index), expiries, operator, now))
                    }
                }
            }
        }
    }
}

/// A text that changes when the file must be shown again.
fn version(download: &DownloadView) -> String {
    let done = download.progress.as_ref().map(|progress| progress.bytes_done).unwrap_or_default();
    let error = download.error.as_ref().map(|error| error.code.as_str()).unwrap_or_default();
    format!(
        "{}-{}-{error}-{done}-{}",
        download.state.as_str(),
        download.attempts,
        download.sha256.as_deref().unwrap_or_default()
    )
}

fn file(
    render: &RenderView,
    download: &DownloadView,
    link: Option<&str>,
    expiries: &UrlExpiry,
    operator: &Operator,
    now: DateTime<Utc>,
) -> Markup {
    html! {
        @if let Some(link) = link { (player(download, link)) }
        div.file-facts {
            div.file-head {
                h3 { "File " (download.index) }
                (download_badge(download.state))
                @if let Some(size) = download.size_bytes { span.muted { (bytes(size)) } }
                @if let Some(kind) = &download.content_type { span.muted { (kind) } }
            }
            @if let Some(error) = &download.error {
                p.error-line { code { (error.code) } " " (error.message) }
            }
            @if let Some(progress) = &download.progress { (transfer(download.index, progress)) }
            (times(download, expiries, now))
            (stored_object(download))
            div.buttons {
                @if let Some(link) = link {
                    a.button href=(link) target="_blank" rel="noopener noreferrer" {
                        (icon(Icon::File)) "Open" span.visually-hidden { " file " (download.index) " in a new tab" }
                    }
                }
                (retry_button(render, download, operator))
            }
        }
    }
}

/// Where the copy is.
fn stored_object(download: &DownloadView) -> Markup {
    html! {
        @if let Some(object) = &download.object {
            details.more {
                summary { "Object" }
                dl.facts {
                    dt { "URL" } dd.id { (object.url) }
                    @if let Some(sha256) = &download.sha256 { dt { "SHA-256" } dd.id { (sha256) } }
                }
            }
        }
    }
}

/// The number of attempts, and the times of what happens to the file.
fn times(download: &DownloadView, expiries: &UrlExpiry, now: DateTime<Utc>) -> Markup {
    let is_open = matches!(download.state, DownloadState::Pending | DownloadState::Downloading | DownloadState::Failed);
    let expires_at = expiries.get(&download.index).filter(|_| is_open);
    html! {
        dl.facts.inline {
            @if download.attempts > 0 { div { dt { "Attempts" } dd { (download.attempts) } } }
            @if let Some(at) = download.next_attempt_at { div { dt { "Next attempt" } dd { (when(at, now)) } } }
            @if let Some(at) = expires_at { div { dt { "URL expires" } dd { (until(*at, now, "expired")) } } }
            @if let Some(at) = download.stored_at { div { dt { "Stored" } dd { (when(at, now)) } } }
        }
    }
}

/// How far a transfer is.
fn transfer(index: i32, progress: &TransferProgress) -> Markup {
    html! {
        div {
            @match progress.bytes_total {
                Some(total) => {
                    progress max=(total) value=(progress.bytes_done) aria-label={ "Transfer of file " (index) } {}
                    p.muted { (bytes(progress.bytes_done)) " of " (bytes(total)) }
                }
                None => p.muted { (bytes(progress.bytes_done)) " so far" },
            }
        }
    }
}

fn retry_button(render: &RenderView, download: &DownloadView, operator: &Operator) -> Markup {
    let can_be_tried = match download.state {
        DownloadState::Failed => true,
        // A waiting file without a failed attempt is due anyway.
        DownloadState::Pending => download.error.is_some(),
        DownloadState::Downloading | DownloadState::Stored => false,
    };
    html! {
        @if operator.may_act() && can_be_tried {
            (retry::button(operator, &render.id, download.index, download.state, &render_path(&render.id)))
        }
    }
}

fn player(download: &DownloadView, link: &str) -> Markup {
    let name = format!("File {}", download.index);
    html! {
        @match MediaKind::of(download.content_type.as_deref()) {
            MediaKind::Image => a.media href=(link) target="_blank" rel="noopener noreferrer" { img src=(link) alt=(name) loading="lazy"; },
            MediaKind::Video => div.media { video src=(link) controls preload="metadata" playsinline aria-label=(name) {} },
            MediaKind::Audio => div.media.audio { audio src=(link) controls preload="metadata" aria-label=(name) {} },
            MediaKind::Other => {}
        }
    }
}
