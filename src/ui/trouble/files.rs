//! `GET /ui/downloads?state=&error=`: the files of a group.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::domain::DownloadState;
use crate::runtime::REQUEST_TIMEOUT;
use crate::ui::error::UiError;
use crate::ui::html::{Query, Section, UiPage, download_badge, pager, render_path, until, when};
use crate::ui::parameters::Parameters;
use crate::ui::queries::{TroubledFile, TroubledFiles, troubled_files};
use crate::ui::retry;
use crate::ui::router::UiState;
use crate::ui::session::Operator;

const PAGE: u16 = 50;

/// `GET /ui/downloads`.
pub(in crate::ui) async fn list(
    State(state): State<Arc<UiState>>,
    operator: Operator,
    parameters: Parameters,
) -> Result<Response, UiError> {
    let wanted = TroubledFiles {
        state: parameters.read("state")?.unwrap_or(DownloadState::Failed),
        error_code: parameters.get("error").unwrap_or_default().to_owned(),
        after: parameters.get("after").map(str::to_owned).zip(parameters.read("index")?),
    };
    let (database, now) = (&state.api.database, state.api.clock.now());
    let page = troubled_files(database.pool(), &wanted, PAGE);
    let page = database.with_timeout(REQUEST_TIMEOUT, page).await?;
    let here = || Query::of("/ui/downloads").with("state", Some(wanted.state)).with("error", Some(&wanted.error_code));
    let last = page.files.last().filter(|_| page.has_more);
    let next = last.map(|file| here().with("after", Some(&file.render_id)).with("index", Some(file.index)).text());
    let first = wanted.after.as_ref().map(|_| here().text());
    let content = html! {
        p.crumbs { a href="/ui" { "Trouble" } }
        div.title {
            h1 { code { (wanted.error_code) } }
            (download_badge(wanted.state))
        }
        div data-live-part="files" {
            @if page.files.is_empty() {
                div.empty { h2 { "No file has this error any more" } p { a href="/ui" { "Back to what is in trouble" } } }
            } @else {
                (table(&page.files, wanted.state, &operator, now))
            }
        }
        (pager(first.as_deref(), next.as_deref()))
    };
    let page = UiPage::of(&operator, &wanted.error_code, Section::Trouble, content);
    Ok(UiPage { done: retry::done(&parameters), live: Some("/ui/live".to_owned()), ..page }.into_response())
}

fn table(files: &[TroubledFile], state: DownloadState, operator: &Operator, now: DateTime<Utc>) -> Markup {
    html! {
        section.panel {
            table {
                caption.visually-hidden { "Files" }
                thead { tr {
                    th scope="col" { "File" } th scope="col" { "Error" } th.num scope="col" { "Attempts" }
                    th scope="col" { "Last attempt" } th scope="col" { "URL expires" }
                    @if state == DownloadState::Pending { th scope="col" { "Next attempt" } }
                    th scope="col" { span.visually-hidden { "Actions" } }
                } }
                tbody { @for file in files { tr {
                    th.id scope="row" { a href=(render_path(&file.render_id)) { (file.render_id) } " #" (file.index) }
                    td data-label="Error" { (file.message) }
                    td.num data-label="Attempts" { (file.attempts) }
                    td data-label="Last attempt" { (when(file.updated_at, now)) }
                    td data-label="URL expires" {
                        @match file.expires_at { Some(at) => (until(at, now, "expired")), None => span.muted { "unknown" } }
                    }
                    @if state == DownloadState::Pending {
                        td data-label="Next attempt" { @if let Some(at) = file.due_at { (when(at, now)) } }
                    }
                    td.actions {
                        @if operator.may_act() && file.has_url {
                            // Then the page of the render: the file leaves this list.
                            (retry::button(operator, &file.render_id, file.index, state, &render_path(&file.render_id)))
                        }
                    }
                } } }
            }
        }
    }
}
