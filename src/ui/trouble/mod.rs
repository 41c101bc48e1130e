//! `GET /ui`: is anything wrong?

mod files;
mod report;
mod sections;

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

pub(super) use self::files::list;
use self::report::TroubleReport;
use self::sections::sections;
use super::error::UiError;
use super::html::{Icon, Query, Section, UiPage, count, icon};
use super::parameters::Parameters;
use super::retry;
use super::router::UiState;
use super::session::Operator;

/// `GET /ui`.
pub(super) async fn get(
    State(state): State<Arc<UiState>>,
    operator: Operator,
    parameters: Parameters,
) -> Result<axum::response::Response, UiError> {
    let now = state.api.clock.now();
    let report = TroubleReport::read(&state.api.database, now).await?;
    let content = html! {
        div data-live-part="trouble" {
            (verdict(&report))
            (tiles(&report))
            (sections(&report, &operator, now))
        }
    };
    let page = UiPage::of(&operator, "Trouble", Section::Trouble, content);
    let page = UiPage { done: retry::done(&parameters), live: Some("/ui/live".to_owned()), ..page };
    Ok(axum::response::IntoResponse::into_response(page))
}

fn verdict(report: &TroubleReport) -> Markup {
    let problems = report.problems();
    html! {
        @if problems == 0 {
            div.verdict.good {
                (icon(Icon::Check))
                div { h1 { "Nothing is wrong" } p { "No file is in trouble, and everything that arrived was understood." } }
            }
        } @else {
            div.verdict.bad {
                (icon(Icon::Alert))
                div {
                    h1 { (count(problems, None)) @if problems == 1 { " thing needs" } @else { " things need" } " a look" }
                    p { "Grouped by error, the most urgent first." }
                }
            }
        }
    }
}

fn tiles(report: &TroubleReport) -> Markup {
    let tile = |name: &str, number: i64, link: Option<Query>, tone: &str| {
        let figure = html! { span.number { (count(number, None)) } span.name { (name) } };
        html! {
            @match link {
                Some(link) => a class={ "tile " (tone) } href=(link.text()) { (figure) },
                None => div class={ "tile " (tone) } { (figure) },
            }
        }
    };
    let renders = |status: &str| Some(Query::of("/ui/renders").with("status", Some(status)));
    let failed_tone = if report.files_failed > 0 { "bad" } else { "" };
    html! {
        div.tiles {
            (tile("queued", report.queued, renders("queued"), ""))
            (tile("rendering", report.rendering, renders("rendering"), ""))
            (tile("complete", report.complete, renders("complete"), ""))
            (tile("files waiting", report.files_waiting, None, ""))
            (tile("files stored", report.files_stored, None, ""))
            (tile("files failed", report.files_failed, None, failed_tone))
        }
    }
}
