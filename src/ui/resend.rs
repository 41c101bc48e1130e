//! `/ui/notify`: sending notifications again. `GET` asks for confirmation, because the application gets them again; `POST` does it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::error::UiError;
use super::forms::{CheckedForm, answer_form};
use super::html::{Icon, Section, UiPage, icon, plural, render_path};
use super::parameters::Parameters;
use super::return_path::ReturnPath;
use super::router::UiState;
use super::session::{Actor, Operator};
use crate::feed::PostedTypes;
use crate::http::HttpError;
use crate::notify::{ResendFilter, preview, resend};

/// The parameter that says how many are sent again.
const DONE: &str = "sent";

/// The notifications that a query or a form names: all of a render, or all that have failed.
fn filter(state: &UiState, fields: &Parameters) -> Result<ResendFilter, UiError> {
    if state.api.posted == PostedTypes::default() {
        let message = "NOTIFY_URL is not set, so nothing is posted.";
        return Err(HttpError::new(StatusCode::CONFLICT, message).into());
    }
    let render = fields.read("render")?;
    let only_failed = render.is_none();
    Ok(ResendFilter { render, only_failed, posted: state.api.posted, since: None })
}

/// The page that shows these notifications.
fn page_of(filter: &ResendFilter) -> String {
    filter.render.as_ref().map_or_else(|| "/ui".to_owned(), |render| render_path(render.as_str()))
}

/// `GET /ui/notify`.
pub(super) async fn confirm(
    State(state): State<Arc<UiState>>,
    operator: Operator,
    _actor: Actor,
    parameters: Parameters,
) -> Result<Response, UiError> {
    let filter = filter(&state, &parameters)?;
    let mut number = 0;
    preview(&state.api.database, &filter, |_| number += 1).await?;
    let content = question(&operator, &filter, number);
    Ok(UiPage::of(&operator, "Send notifications again", Section::None, content).into_response())
}

fn question(operator: &Operator, filter: &ResendFilter, number: i64) -> Markup {
    let place = page_of(filter);
    let number_of = plural(number, "notification", "notifications");
    let fields = html! {
        @if let Some(render) = &filter.render { input type="hidden" name="render" value=(render); }
        input type="hidden" name="back" value=(place);
    };
    let submit = html! { (icon(Icon::Retry)) "Send " (number_of) };
    html! {
        div.question {
            @if number == 0 {
                h1 { "There is nothing to send again" }
                p.buttons { a.button href=(place) { "Back" } }
            } @else {
                h1 { "Send " (number_of) " again?" }
                p {
                    "Your application gets "
                    @match &filter.render {
                        Some(render) => { "every notification about " strong { (render) } },
                        None => "every notification that has failed",
                    }
                    " once more, with the same ids. This cannot be taken back."
                }
                (answer_form(operator, "/ui/notify", &fields, &submit, &place))
            }
        }
    }
}

/// `POST /ui/notify`.
pub(super) async fn send(
    State(state): State<Arc<UiState>>,
    _actor: Actor,
    CheckedForm(fields): CheckedForm,
) -> Result<Redirect, UiError> {
    let filter = filter(&state, &fields)?;
    let mut number = 0_u64;
    resend(&state.api.database, &filter, state.api.clock.now(), |_| number += 1).await?;
    let back = ReturnPath::parse(fields.get("back").unwrap_or_default());
    Ok(Redirect::to(&back.with(DONE, &number.to_string())))
}

/// What to say on the page afterwards.
pub(super) fn done(parameters: &Parameters) -> Option<String> {
    let number: i64 = parameters.get(DONE)?.parse().ok()?;
    Some(format!("{} sent again.", plural(number, "notification is", "notifications are")))
}
