//! `GET /ui/renders`: the list with filters, or what a search finds.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use crate::domain::{ArchiveState, Kind, Status};
use crate::runtime::REQUEST_TIMEOUT;
use crate::ui::error::UiError;
use crate::ui::html::{
    Icon, Query, Section, UiPage, archive_badge, choice, count, icon, pager, render_path, status_badge, when,
};
use crate::ui::parameters::Parameters;
use crate::ui::queries::{SEARCH_LIMIT, search};
use crate::ui::router::UiState;
use crate::ui::session::Operator;
use crate::views::{self, ListFilter, RenderView};

const PAGE: u16 = 50;

/// What a page of the list shows.
struct Listed {
    renders: Vec<RenderView>,
    first: Option<String>,
    next: Option<String>,
}

/// `GET /ui/renders`.
pub(in crate::ui) async fn list(
    State(state): State<Arc<UiState>>,
    operator: Operator,
    parameters: Parameters,
) -> Result<Response, UiError> {
    let now = state.api.clock.now();
    let filter = filter(&parameters, now)?;
    let listed = match parameters.get("q") {
        Some(text) => found(&state, text).await?,
        None => page(&state, &filter, parameters.get("within")).await?,
    };
    let is_filtered = parameters.get("q").is_some() || filter != ListFilter::default();
    let within = parameters.get("within");
    let content = html! {
        h1 { "Renders" }
        (search_form(&parameters))
        @if parameters.get("q").is_none() { (filter_form(&filter, within)) }
        div data-live-part="renders" {
            @if listed.renders.is_empty() { (empty(is_filtered)) } @else { (table(&listed.renders, now)) }
        }
        @if parameters.get("q").is_some() && listed.renders.len() >= usize::try_from(SEARCH_LIMIT).unwrap_or(usize::MAX) {
            p.fine { "More than " (count(SEARCH_LIMIT, None)) " renders match: type more of it." }
        }
        (pager(listed.first.as_deref(), listed.next.as_deref()))
    };
    let page = UiPage::of(&operator, "Renders", Section::Renders, content);
    Ok(UiPage { live: Some("/ui/live".to_owned()), ..page }.into_response())
}

/// Periods in which a render was seen first.
const PERIODS: [(&str, &str, TimeDelta); 4] = [
    ("1h", "last hour", TimeDelta::hours(1)),
    ("24h", "last 24 hours", TimeDelta::hours(24)),
    ("7d", "last 7 days", TimeDelta::days(7)),
    ("30d", "last 30 days", TimeDelta::days(30)),
];

fn filter(parameters: &Parameters, now: DateTime<Utc>) -> Result<ListFilter, UiError> {
    let within = parameters.get("within");
    let period = PERIODS.iter().find(|(name, _, _)| Some(*name) == within);
    if within.is_some() && period.is_none() {
        return Err(UiError::bad_request("`within` in the address cannot be read."));
    }
    Ok(ListFilter {
        status: parameters.read("status")?,
        kind: parameters.read("kind")?,
        archive: parameters.read("archive")?,
        external_id: parameters.read("external_id")?,
        project_type: parameters.get("type").map(str::to_owned),
        error_code: parameters.get("error").map(str::to_owned),
        since: period.map(|(_, _, length)| now - *length),
        until: None,
        after: parameters.read("cursor")?,
    })
}

fn here(filter: &ListFilter, within: Option<&str>) -> Query {
    Query::of("/ui/renders")
        .with("status", filter.status)
        .with("kind", filter.kind)
        .with("archive", filter.archive.map(ArchiveState::as_str).as_ref())
        .with("external_id", filter.external_id.as_ref().map(|id| id.as_str().to_owned()))
        .with("type", filter.project_type.as_ref())
        .with("error", filter.error_code.as_ref())
        .with("within", within)
}

async fn page(state: &UiState, filter: &ListFilter, within: Option<&str>) -> Result<Listed, UiError> {
    let database = &state.api.database;
    let page = views::list(database.pool(), &state.api.store, filter, PAGE);
    let page = database.with_timeout(REQUEST_TIMEOUT, page).await?;
    Ok(Listed {
        renders: page.renders,
        first: filter.after.as_ref().map(|_| here(filter, within).text()),
        next: page.next.map(|cursor| here(filter, within).with("cursor", Some(cursor)).text()),
    })
}

async fn found(state: &UiState, text: &str) -> Result<Listed, UiError> {
    let (database, store) = (&state.api.database, &state.api.store);
    let read = async {
        let ids = search(database.pool(), text).await?;
        let keys: Vec<_> = ids.iter().map(String::as_str).collect();
        let mut renders = views::renders(database.pool(), store, &keys).await?;
        Ok(ids.iter().filter_map(|id| renders.remove(id)).collect())
    };
    let renders = database.with_timeout(REQUEST_TIMEOUT, read).await?;
    Ok(Listed { renders, first: None, next: None })
}

fn search_form(parameters: &Parameters) -> Markup {
    let text = parameters.get("q");
    html! {
        form.search role="search" action="/ui/renders" {
            label.visually-hidden for="q" { "Search renders" }
            (icon(Icon::Search))
            input #q type="search" name="q" value=[text] placeholder="Beginning of an id, an external id or a name"
                autocomplete="off" spellcheck="false" maxlength="255";
            button type="submit" { "Search" }
            @if text.is_some() { a.button href="/ui/renders" { "Clear" } }
        }
    }
}

fn filter_form(filter: &ListFilter, within: Option<&str>) -> Markup {
    html! {
        form.filters action="/ui/renders" {
            (choice("status", "Status", &Status::ALL, filter.status.as_ref()))
            (choice("kind", "Kind", &Kind::ALL, filter.kind.as_ref()))
            (choice("archive", "Archive", &ArchiveState::ALL.map(ArchiveState::as_str), filter.archive.map(ArchiveState::as_str).as_ref()))
            div.field {
                label for="within" { "First seen" }
                select #within name="within" {
                    option value="" { "any time" }
                    @for (name, label, _) in PERIODS { option value=(name) selected[within == Some(name)] { (label) } }
                }
            }
            (text_field("type", "Type", filter.project_type.as_deref()))
            (text_field("error", "Error", filter.error_code.as_deref()))
            @if let Some(id) = &filter.external_id { (text_field("external_id", "External id", Some(id.as_str()))) }
            div.field.submit {
                button type="submit" { "Filter" }
                @if *filter != ListFilter::default() { a.button href="/ui/renders" { "Clear" } }
            }
        }
    }
}

fn text_field(name: &str, label: &str, value: Option<&str>) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            input id=(name) name=(name) value=[value] placeholder="any" autocomplete="off" spellcheck="false" maxlength="255";
        }
    }
}

fn empty(is_filtered: bool) -> Markup {
    html! {
        div.empty {
            @if is_filtered {
                h2 { "No render matches" }
                p { a href="/ui/renders" { "Show all renders" } }
            } @else {
                h2 { "No renders yet" }
                p { "They appear here as soon as the first webhook arrives. Try one with " code { "renderhook send video.started" } "." }
            }
        }
    }
}

fn kind_icon(kind: Kind) -> Icon {
    match kind {
        Kind::Video => Icon::Video,
        Kind::Image => Icon::Image,
        Kind::Audio => Icon::Audio,
    }
}

fn table(renders: &[RenderView], now: DateTime<Utc>) -> Markup {
    html! {
        section.panel {
            table {
                caption.visually-hidden { "Renders, newest first" }
                thead { tr {
                    th scope="col" { "Render" } th scope="col" { "Status" } th scope="col" { "Files" }
                    th.num scope="col" { "Credits" } th scope="col" { "External id" } th scope="col" { "Created" }
                    th scope="col" { "Changed" }
                } }
                tbody { @for render in renders { (row(render, now)) } }
            }
        }
    }
}

fn row(render: &RenderView, now: DateTime<Utc>) -> Markup {
    let title = render.name.as_deref().filter(|name| !name.trim().is_empty());
    html! {
        tr {
            th scope="row" {
                div.render {
                (icon(kind_icon(render.kind)))
                div {
                    a href=(render_path(&render.id)) { (title.unwrap_or(&render.id)) }
                    p.message {
                        span.visually-hidden { (render.kind) ": " }
                        @if title.is_some() { span.id { (render.id) } }
                        @if let Some(kind) = &render.r#type { " " span.type { (kind) } }
                    }
                }
                }
            }
            td data-label="Status" { (status_badge(render.status)) @if render.deleted { " " span.muted { "deleted" } } }
            td data-label="Files" { (archive_badge(render.archive)) }
            td.num data-label="Credits" { @match render.credits_charged { Some(credits) => (count(credits, None)), None => span.muted { "–" } } }
            td.id.optional[render.external_id.is_none()] data-label="External id" { @match &render.external_id { Some(id) => (id), None => span.muted { "–" } } }
            td data-label="Created" { (when(render.created_at, now)) }
            td data-label="Changed" { (when(render.updated_at, now)) }
        }
    }
}
