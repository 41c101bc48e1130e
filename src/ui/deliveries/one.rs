//! `GET /ui/deliveries/{id}`: one delivery with its body.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::indent::indented;
use crate::runtime::REQUEST_TIMEOUT;
use crate::ui::error::UiError;
use crate::ui::html::{Section, UiPage, bytes, lag, outcome_badge, render_path, when};
use crate::ui::router::UiState;
use crate::ui::session::Operator;
use crate::views::{self, DeliveryBodyView};

/// `GET /ui/deliveries/{id}`.
pub(in crate::ui) async fn get(
    State(state): State<Arc<UiState>>,
    operator: Operator,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Response, UiError> {
    let unknown = || UiError::not_found("There is no delivery with this id. They are kept for EVENT_RETENTION.");
    let Path(id) = id.map_err(|_| unknown())?;
    let (database, now) = (&state.api.database, state.api.clock.now());
    let found = views::delivery(database.pool(), id);
    let delivery = database.with_timeout(REQUEST_TIMEOUT, found).await?.ok_or_else(unknown)?;
    let title = format!("Delivery {id}");
    Ok(UiPage::of(&operator, &title, Section::Deliveries, content(&delivery, now)).into_response())
}

fn content(DeliveryBodyView { delivery, body }: &DeliveryBodyView, now: DateTime<Utc>) -> Markup {
    html! {
        p.crumbs { a href="/ui/deliveries" { "Deliveries" } }
        div.title {
            h1 { (delivery.event_type.as_deref().unwrap_or("Delivery without a type")) }
            (outcome_badge(delivery.outcome))
        }
        @if let Some(problem) = &delivery.problem { div.alert.warning role="note" { p { (problem) } } }
        section.panel { dl.facts {
            dt { "Id" } dd.id { (delivery.id) }
            dt { "Render" } dd.id { @match &delivery.render_id { Some(id) => a href=(render_path(id)) { (id) }, None => span.muted { "none" } } }
            dt { "Received" } dd { (when(delivery.received_at, now)) }
            dt { "Signed" } dd { @match delivery.sent_at { Some(at) => (when(at, now)), None => span.muted { "unknown" } } }
            dt { "Lag" } dd { @match delivery.lag_ms { Some(millis) => (lag(millis)), None => span.muted { "unknown" } } }
            dt { "Size" } dd { @match delivery.size_bytes { Some(size) => (bytes(i64::from(size))), None => span.muted { "erased" } } }
        } }
        section.panel {
            header { h2 { "Body" } span.muted { "without the queries of URLs, which are credentials" } }
            @match body {
                Some(body) => pre.body tabindex="0" aria-label="Body" { (indented(body)) },
                None => p.inside.muted { "Erased." },
            }
        }
    }
}
