//! `GET /ui/renders/{id}`: one render.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::downloads::downloads;
use super::history::{credits, deliveries, polls, timeline};
use super::media::MediaLinks;
use super::notices::{notices, notifications};
use super::{render_in_path, unknown_render};
use crate::domain::RenderId;
use crate::runtime::REQUEST_TIMEOUT;
use crate::ui::error::UiError;
use crate::ui::html::{Icon, Section, UiPage, archive_badge, count, icon, status_badge, when};
use crate::ui::parameters::Parameters;
use crate::ui::queries::{PollFacts, UrlExpiry, poll_facts, url_expiries};
use crate::ui::router::UiState;
use crate::ui::session::Operator;
use crate::ui::{erase, resend, retry};
use crate::views::{self, DeliveryFilter, DeliveryPage, RenderView};

/// How many deliveries the page of a render shows.
const DELIVERIES: u16 = 20;

/// Everything that the page shows.
struct RenderPageFacts {
    render: RenderView,
    polls: Option<PollFacts>,
    expiries: UrlExpiry,
    deliveries: DeliveryPage,
    media: MediaLinks,
    now: DateTime<Utc>,
}

/// `GET /ui/renders/{id}`.
pub(in crate::ui) async fn get(
    State(state): State<Arc<UiState>>,
    operator: Operator,
    parameters: Parameters,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, UiError> {
    let id = render_in_path(id)?;
    let facts = read(&state, &id).await?;
    let title =
        facts.render.name.clone().filter(|name| !name.trim().is_empty()).unwrap_or_else(|| facts.render.id.clone());
    let page = UiPage::of(&operator, &title, Section::Renders, content(&facts, &operator, &title));
    let live = format!("/ui/renders/{}/live", views::segment(&facts.render.id));
    let done = retry::done(&parameters);
    let done = done.or_else(|| resend::done(&parameters)).or_else(|| erase::done(&parameters));
    Ok(UiPage { done, live: Some(live), media_origins: facts.media.origins(), ..page }.into_response())
}

async fn read(state: &UiState, id: &RenderId) -> Result<RenderPageFacts, UiError> {
    let render = state.api.reader.read(id).await?.ok_or_else(unknown_render)?;
    let database = &state.api.database;
    let pool = database.pool();
    let more = async {
        let filter = DeliveryFilter { render: Some(id.clone()), ..DeliveryFilter::default() };
        let deliveries = views::deliveries(pool, &filter, DELIVERIES).await?;
        Ok((poll_facts(pool, id).await?, url_expiries(pool, id).await?, deliveries))
    };
    let (polls, expiries, deliveries) = database.with_timeout(REQUEST_TIMEOUT, more).await?;
    let media = MediaLinks::of(&state.api, id, &render).await?;
    Ok(RenderPageFacts { render, polls, expiries, deliveries, media, now: state.api.clock.now() })
}

fn content(facts: &RenderPageFacts, operator: &Operator, title: &str) -> Markup {
    let RenderPageFacts { render, polls: poll_facts, expiries, deliveries: delivery_page, media, now } = facts;
    html! {
        p.crumbs { a href="/ui/renders" { "Renders" } }
        div.title data-live-part="title" {
            h1 { (title) }
            (status_badge(render.status))
            @if render.deleted { span.badge.neutral { "deleted" } }
            a.button.aside href=(render.links.magic_hour) target="_blank" rel="noopener noreferrer" {
                (icon(Icon::External)) @if render.is_finished() { "At Magic Hour" } @else { "Cancel at Magic Hour" }
                span.visually-hidden { " (in a new tab)" }
            }
        }
        div data-live-part="notices" { (notices(render, *now)) }
        div.columns {
            div.main {
                (downloads(render, media, expiries, operator, *now))
                div data-live-part="timeline" { (timeline(render, *now)) }
                div data-live-part="deliveries" { (deliveries(&render.id, delivery_page, *now)) }
            }
            div.side {
                div data-live-part="facts" { (about(render, operator, *now)) }
                div data-live-part="credits" { (credits(render, *now)) }
                div data-live-part="notifications" { (notifications(render, operator, *now)) }
                @if let Some(facts) = poll_facts { div data-live-part="polls" { (polls(facts, *now)) } }
            }
        }
    }
}

fn about(render: &RenderView, operator: &Operator, now: DateTime<Utc>) -> Markup {
    html! {
        section.panel {
            header { h2 { "About" } (erase::button(operator, render)) }
            dl.facts {
                dt { "Id" } dd.id { (render.id) }
                dt { "Kind" } dd { (render.kind) }
                @if let Some(kind) = &render.r#type { dt { "Type" } dd.id { (kind) } }
                dt { "External id" } dd { @match &render.external_id { Some(id) => span.id { (id) }, None => span.muted { "none" } } }
                dt { "Files" } dd { (archive_badge(render.archive)) }
                dt { "Credits" } dd { @match render.credits_charged { Some(credits) => (count(credits, None)), None => span.muted { "unknown" } } }
                @if let Some((width, height)) = render.width.zip(render.height) { dt { "Size" } dd { (width) " × " (height) } }
                @if let Some(fps) = render.fps { dt { "Frames" } dd { (fps.get()) " a second" } }
                @if let Some((start, end)) = render.start_seconds.zip(render.end_seconds) {
                    dt { "Clip" } dd { (start.get()) " s to " (end.get()) " s" }
                }
                @if let Some(images) = render.image_count { dt { "Images" } dd { (images) " announced" } }
                dt { "Created" } dd { (when(render.created_at, now)) }
                dt { "Changed" } dd { (when(render.updated_at, now)) }
            }
            @if render.metadata.get() != "{}" {
                details { summary { "Metadata" } pre tabindex="0" { (crate::ui::deliveries::indented(render.metadata.get())) } }
            }
        }
    }
}
