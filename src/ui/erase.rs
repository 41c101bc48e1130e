//! `/ui/erase`: erasing a render. `GET` asks for confirmation, because nothing brings it back; `POST` does it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::error::UiError;
use super::forms::{CheckedForm, answer_form};
use super::html::{Query, Section, UiPage, render_path};
use super::parameters::Parameters;
use super::renders::unknown_render;
use super::router::UiState;
use super::session::{Actor, Operator};
use crate::domain::RenderId;
use crate::erasure::{ErasureSource, request_erasure};
use crate::views::RenderView;

/// The path of the question and of the form.
const PATH: &str = "/ui/erase";
/// The field that also deletes the project at Magic Hour.
const UPSTREAM: &str = "upstream";
/// The parameter that says that the erasure has begun.
const DONE: &str = "erasing";

/// The render that a query or a form names.
fn render_in(fields: &Parameters) -> Result<RenderId, UiError> {
    fields.get("render").and_then(|id| id.parse().ok()).ok_or_else(unknown_render)
}

/// A link to the question, for who may answer it.
pub(super) fn button(operator: &Operator, render: &RenderView) -> Markup {
    let question = Query::of(PATH).with("render", Some(&render.id)).text();
    html! {
        @if operator.may_act() && render.erased_at.is_none() { a.button href=(question) { "Erase…" } }
    }
}

/// `GET /ui/erase`.
pub(super) async fn confirm(
    State(state): State<Arc<UiState>>,
    operator: Operator,
    _actor: Actor,
    parameters: Parameters,
) -> Result<Response, UiError> {
    let id = render_in(&parameters)?;
    let render = state.api.reader.read(&id).await?.ok_or_else(unknown_render)?;
    let content = question(&operator, &render, state.api.has_api_key);
    Ok(UiPage::of(&operator, "Erase a render", Section::Renders, content).into_response())
}

fn question(operator: &Operator, render: &RenderView, has_api_key: bool) -> Markup {
    let fields = html! {
        input type="hidden" name="render" value=(render.id);
        @if has_api_key {
            p { label { input type="checkbox" name=(UPSTREAM) value="true"; " Also delete the project at Magic Hour" } }
        }
    };
    html! {
        div.question {
            h1 { "Erase " (render.id) "?" }
            p {
                "Its stored files, its name and metadata, and the bodies of its deliveries are removed for good. "
                "Its id, status, credits, and times stay."
            }
            (answer_form(operator, PATH, &fields, &html! { "Erase" }, &render_path(&render.id)))
        }
    }
}

/// `POST /ui/erase`.
pub(super) async fn erase(
    State(state): State<Arc<UiState>>,
    _actor: Actor,
    CheckedForm(fields): CheckedForm,
) -> Result<Redirect, UiError> {
    let id = render_in(&fields)?;
    let upstream = state.api.has_api_key && fields.read(UPSTREAM)?.unwrap_or(false);
    let (database, now) = (&state.api.database, state.api.clock.now());
    let progress = request_erasure(database, &id, upstream, ErasureSource::Ui, now).await?;
    progress.ok_or_else(unknown_render)?;
    Ok(Redirect::to(&Query::of(&render_path(id.as_str())).with(DONE, Some("yes")).text()))
}

/// What to say on the page afterwards.
pub(super) fn done(parameters: &Parameters) -> Option<String> {
    parameters.get(DONE).map(|_| "This render is being erased.".to_owned())
}
