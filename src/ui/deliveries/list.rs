//! `GET /ui/deliveries`: what Magic Hour sent.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::domain::DeliveryOutcome;
use crate::runtime::REQUEST_TIMEOUT;
use crate::ui::error::UiError;
use crate::ui::html::{
    Query, Section, UiPage, bytes, choice, delivery_path, lag, outcome_badge, pager, render_path, when,
};
use crate::ui::parameters::Parameters;
use crate::ui::router::UiState;
use crate::ui::session::Operator;
use crate::views::{self, DeliveryFilter, DeliveryView};

const PAGE: u16 = 50;

/// `GET /ui/deliveries`.
pub(in crate::ui) async fn list(
    State(state): State<Arc<UiState>>,
    operator: Operator,
    parameters: Parameters,
) -> Result<Response, UiError> {
    let filter = DeliveryFilter {
        outcome: parameters.read("outcome")?,
        render: parameters.read("render_id")?,
        before: parameters.read("cursor")?,
    };
    let (database, now) = (&state.api.database, state.api.clock.now());
    let page = views::deliveries(database.pool(), &filter, PAGE);
    let page = database.with_timeout(REQUEST_TIMEOUT, page).await?;
    let next = page.next.map(|cursor| here(&filter).with("cursor", Some(cursor)).text());
    let first = filter.before.map(|_| here(&filter).text());
    let content = html! {
        h1 { "Deliveries" }
        (filter_form(&filter))
        div data-live-part="deliveries" {
            @if page.deliveries.is_empty() { (empty(&filter)) } @else { (table(&page.deliveries, now)) }
        }
        (pager(first.as_deref(), next.as_deref()))
    };
    let page = UiPage::of(&operator, "Deliveries", Section::Deliveries, content);
    Ok(UiPage { live: Some("/ui/live".to_owned()), ..page }.into_response())
}

fn here(filter: &DeliveryFilter) -> Query {
    Query::of("/ui/deliveries").with("outcome", filter.outcome).with("render_id", filter.render.as_ref())
}

fn filter_form(filter: &DeliveryFilter) -> Markup {
    html! {
        form.filters action="/ui/deliveries" {
            (choice("outcome", "Outcome", &DeliveryOutcome::ALL, filter.outcome.as_ref()))
            div.field.wide {
                label for="render_id" { "Render" }
                input #render_id name="render_id" value=[filter.render.as_ref()] placeholder="The id of a render" autocomplete="off"
                    spellcheck="false" maxlength="255";
            }
            div.field.submit {
                button type="submit" { "Filter" }
                @if *filter != DeliveryFilter::default() { a.button href="/ui/deliveries" { "Clear" } }
            }
        }
    }
}

fn empty(filter: &DeliveryFilter) -> Markup {
    html! {
        div.empty {
            @if *filter == DeliveryFilter::default() {
                h2 { "No deliveries yet" }
                p { "Whatever Magic Hour signs and sends appears here, whether it could be used or not." }
            } @else {
                h2 { "No delivery matches" }
                p { "They are kept for " code { "EVENT_RETENTION" } ". " a href="/ui/deliveries" { "Show all deliveries" } }
            }
        }
    }
}

fn table(deliveries: &[DeliveryView], now: DateTime<Utc>) -> Markup {
    html! {
        section.panel {
            table {
                caption.visually-hidden { "Deliveries, newest first" }
                thead { tr {
                    th scope="col" { "Event" } th scope="col" { "Render" } th scope="col" { "Outcome" }
                    th.num scope="col" { "Lag" } th.num scope="col" { "Size" } th scope="col" { "Received" }
                } }
                tbody { @for delivery in deliveries { (row(delivery, now)) } }
            }
        }
    }
}

fn row(delivery: &DeliveryView, now: DateTime<Utc>) -> Markup {
    html! {
        tr {
            th scope="row" {
                a href=(delivery_path(delivery.id)) { (delivery.event_type.as_deref().unwrap_or("no type")) }
                @if let Some(problem) = &delivery.problem { p.message { (problem) } }
            }
            td.id data-label="Render" {
                @match &delivery.render_id { Some(id) => a href=(render_path(id)) { (id) }, None => span.muted { "none" } }
            }
            td data-label="Outcome" { (outcome_badge(delivery.outcome)) }
            td.num data-label="Lag" { @match delivery.lag_ms { Some(millis) => (lag(millis)), None => span.muted { "–" } } }
            td.num data-label="Size" { @match delivery.size_bytes { Some(size) => (bytes(i64::from(size))), None => span.muted { "erased" } } }
            td data-label="Received" { (when(delivery.received_at, now)) }
        }
    }
}
