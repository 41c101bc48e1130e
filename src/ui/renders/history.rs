//! What happened to a render: transitions, credits, deliveries, polls.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::domain::Status;
use crate::intake::Source;
use crate::ui::html::{Query, count, delivery_path, lag, outcome_badge, plural, when};
use crate::ui::queries::PollFacts;
use crate::views::{CreditsView, DeliveryPage, RenderView, TransitionView};

pub(super) fn timeline(render: &RenderView, now: DateTime<Utc>) -> Markup {
    html! {
        section.panel {
            header { h2 { "Timeline" } }
            @if render.transitions.is_empty() {
                p.inside.muted { "No status was reported yet." }
            } @else {
                ol.timeline { @for transition in &render.transitions { li class=(dot(transition.to)) { (step(transition, now)) } } }
            }
        }
    }
}

fn dot(status: Status) -> &'static str {
    match status {
        Status::Complete => "good",
        Status::Error => "bad",
        Status::Queued | Status::Rendering => "busy",
        Status::Draft | Status::Canceled => "neutral",
    }
}

fn step(transition: &TransitionView, now: DateTime<Utc>) -> Markup {
    html! {
        p.step { strong { (transition.to) } @if let Some(from) = transition.from { span.muted { " after " (from) } } }
        p.muted {
            (when(transition.at, now)) " · "
            @match transition.source {
                Source::Webhook => { "webhook" @if let Some(event) = &transition.event { " " code { (event) } } }
                Source::Poll => "found by a poll",
            }
            @if let Some(millis) = transition.lag_ms { " · arrived after " (lag(millis)) }
        }
    }
}

pub(super) fn credits(render: &RenderView, now: DateTime<Utc>) -> Markup {
    html! {
        @if !render.credits.is_empty() {
            section.panel {
                header { h2 { "Credits" } }
                ul.plain { @for change in render.credits.iter().rev() { li { (credit(change, now)) } } }
            }
        }
    }
}

fn credit(change: &CreditsView, now: DateTime<Utc>) -> Markup {
    html! {
        strong { (count(change.value, None)) }
        span.muted {
            @if let Some(status) = change.status { " when " (status) }
            " · " (change.source.as_str()) " · " (when(change.at, now))
        }
    }
}

pub(super) fn deliveries(render_id: &str, page: &DeliveryPage, now: DateTime<Utc>) -> Markup {
    html! {
        section.panel {
            header {
                h2 { "Deliveries" }
                @if page.next.is_some() { a.button href=(Query::of("/ui/deliveries").with("render_id", Some(render_id)).text()) { "Show all" } }
            }
            @if page.deliveries.is_empty() {
                p.inside.muted { "None is kept. Polls reported what is known, or the deliveries are older than " code { "EVENT_RETENTION" } "." }
            } @else {
                table {
                    caption.visually-hidden { "Deliveries about this render, newest first" }
                    thead { tr { th scope="col" { "Event" } th scope="col" { "Outcome" } th.num scope="col" { "Lag" } th scope="col" { "Received" } } }
                    tbody { @for delivery in &page.deliveries { tr {
                        th scope="row" { a href=(delivery_path(delivery.id)) { (delivery.event_type.as_deref().unwrap_or("unreadable")) } }
                        td data-label="Outcome" { (outcome_badge(delivery.outcome)) }
                        td.num data-label="Lag" { @if let Some(millis) = delivery.lag_ms { (lag(millis)) } }
                        td data-label="Received" { (when(delivery.received_at, now)) }
                    } } }
                }
            }
        }
    }
}

pub(super) fn polls(facts: &PollFacts, now: DateTime<Utc>) -> Markup {
    html! {
        section.panel {
            header { h2 { "Polls" } }
            dl.facts {
                dt { "Last" } dd { @match facts.polled_at { Some(at) => (when(at, now)), None => span.muted { "never" } } }
                dt { "Next" } dd {
                    @match facts.due_at {
                        Some(at) => { (when(at, now)) @if facts.is_requested { " " span.muted { "as asked for" } } }
                        None if facts.is_finished => span.muted { "none: the render has ended" },
                        None => span.muted { "when no event has come for " code { "RECONCILE_AFTER" } },
                    }
                }
                @if facts.attempts > 0 { dt { "Without a change" } dd { (plural(i64::from(facts.attempts), "poll", "polls")) } }
            }
        }
    }
}
