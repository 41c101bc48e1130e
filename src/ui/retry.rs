//! `/ui/retry`: trying downloads again. `GET` asks for confirmation, `POST` does it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::error::UiError;
use super::forms::{CheckedForm, answer_form, token_field};
use super::html::{Icon, Section, UiPage, icon, plural};
use super::parameters::Parameters;
use super::return_path::ReturnPath;
use super::router::UiState;
use super::session::{Actor, Operator};
use crate::archive::{RetryFilter, RetryState, preview_retry, retry_downloads};
use crate::domain::DownloadState;

/// The parameter that says how many were retried.
const DONE: &str = "retried";

/// The downloads that a query or a form names: all of a state, those with an error, those of a render, or one.
fn filter(fields: &Parameters) -> Result<RetryFilter, UiError> {
    let state = match fields.read("state")?.unwrap_or(DownloadState::Failed) {
        DownloadState::Failed => RetryState::Failed,
        DownloadState::Pending => RetryState::Pending,
        DownloadState::Downloading | DownloadState::Stored => {
            return Err(UiError::bad_request("Only failed and waiting downloads can be tried again."));
        }
    };
    Ok(RetryFilter {
        render: fields.read("render")?,
        index: fields.read("index")?,
        error_code: fields.get("error").map(str::to_owned),
        since: None,
        state,
    })
}

const fn state_name(state: RetryState) -> &'static str {
    match state {
        RetryState::Failed => DownloadState::Failed.as_str(),
        RetryState::Pending => DownloadState::Pending.as_str(),
    }
}

/// The fields by which [`filter`] finds the same downloads again.
fn fields(filter: &RetryFilter) -> Markup {
    html! {
        input type="hidden" name="state" value=(state_name(filter.state));
        @if let Some(render) = &filter.render { input type="hidden" name="render" value=(render); }
        @if let Some(index) = filter.index { input type="hidden" name="index" value=(index); }
        @if let Some(error) = &filter.error_code { input type="hidden" name="error" value=(error); }
    }
}

/// A button that tries one download again. Nothing is lost by that, so it asks no question.
pub(super) fn button(operator: &Operator, render: &str, index: i32, state: DownloadState, back: &str) -> Markup {
    html! {
        form.inline method="post" action="/ui/retry" {
            (token_field(&operator.form_token))
            input type="hidden" name="state" value=(state.as_str());
            input type="hidden" name="render" value=(render);
            input type="hidden" name="index" value=(index);
            input type="hidden" name="back" value=(back);
            button type="submit" {
                (icon(Icon::Retry)) @if state == DownloadState::Failed { "Retry" } @else { "Try now" }
                span.visually-hidden { " file " (index) " of " (render) }
            }
        }
    }
}

/// `GET /ui/retry`: what would be tried again, and a button.
pub(super) async fn confirm(
    State(state): State<Arc<UiState>>,
    operator: Operator,
    _actor: Actor,
    parameters: Parameters,
) -> Result<Response, UiError> {
    let filter = filter(&parameters)?;
    let found = preview_retry(&state.api.database, &filter, state.api.clock.now()).await?;
    let number = i64::try_from(found.len()).unwrap_or(i64::MAX);
    let which = if filter.state == RetryState::Failed { "failed" } else { "waiting" };
    let its_fields = html! { (fields(&filter)) input type="hidden" name="back" value="/ui"; };
    let submit = html! { (icon(Icon::Retry)) "Retry " (plural(number, "download", "downloads")) };
    let content = html! {
        div.question {
            @if number == 0 {
                h1 { "There is nothing to retry" }
                p { "No " (which) " download" @if let Some(code) = &filter.error_code { " with the error " code { (code) } } " has a URL to try." }
                p.buttons { a.button href="/ui" { "Back" } }
            } @else {
                h1 { "Retry " (plural(number, "download", "downloads")) "?" }
                p {
                    "All " (which) " downloads"
                    @if let Some(code) = &filter.error_code { " with the error " code { (code) } }
                    @if let Some(render) = &filter.render { " of " strong { (render) } }
                    " are due at once. "
                    @if filter.state == RetryState::Failed { "They start over with all their attempts, and this cannot be taken back." }
                    @else { "They keep the attempts that they have left, and each attempt that fails counts." }
                }
                (answer_form(&operator, "/ui/retry", &its_fields, &submit, "/ui"))
            }
        }
    };
    Ok(UiPage::of(&operator, "Retry", Section::Trouble, content).into_response())
}

/// `POST /ui/retry`.
pub(super) async fn retry(
    State(state): State<Arc<UiState>>,
    _actor: Actor,
    CheckedForm(fields): CheckedForm,
) -> Result<Redirect, UiError> {
    let filter = filter(&fields)?;
    let retried = retry_downloads(&state.api.database, &filter, state.api.clock.now()).await?;
    let back = ReturnPath::parse(fields.get("back").unwrap_or_default());
    Ok(Redirect::to(&back.with(DONE, &retried.len().to_string())))
}

/// What to say on the page after a retry.
pub(super) fn done(parameters: &Parameters) -> Option<String> {
    let number: i64 = parameters.get(DONE)?.parse().ok()?;
    Some(match number {
        0 => "No download was waiting to be tried.".to_owned(),
        _ => format!("{} due now.", plural(number, "download is", "downloads are")),
    })
}
