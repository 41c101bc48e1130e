//! What is wrong with a render, and what the application was told about it.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::domain::{ArchiveState, Status};
use crate::ui::html::{Icon, Query, icon, notification_badge, when};
use crate::ui::session::Operator;
use crate::views::{NotificationView, RenderView};

pub(super) fn notices(render: &RenderView, now: DateTime<Utc>) -> Markup {
    html! {
        @if let Some(error) = &render.error {
            div.alert.bad role="note" {
                (icon(Icon::Alert))
                p {
                    strong { "Magic Hour reports an error." } " "
                    @if let Some(code) = &error.code { code { (code) } " " }
                    @if let Some(message) = &error.message { (message) }
                }
            }
        }
        @if let Some(at) = render.erased_at {
            div.alert.warning role="note" {
                (icon(Icon::Alert))
                p { strong { "This render was erased" } " " (when(at, now)) ". Its files, its name and its metadata are gone." }
            }
        }
        @if let Some(at) = render.not_found_at {
            div.alert.warning role="note" {
                (icon(Icon::Alert))
                p { strong { "Magic Hour does not know this render" } ", since " (when(at, now)) ": it was deleted there, or it belongs to another account." }
            }
        }
        @if let Some(at) = render.stalled_at {
            div.alert.warning role="note" {
                (icon(Icon::Clock))
                p { strong { "Unfinished for more than a week." } " Noticed " (when(at, now)) ". If it is not needed any more, cancel it at Magic Hour." }
            }
        }
        @if render.status == Some(Status::Complete) && render.archive == ArchiveState::AwaitingUrls {
            div.alert.warning role="note" {
                (icon(Icon::Clock))
                p { strong { "Complete, but no URL of a file is known." } " Magic Hour's API is asked for them, if " code { "MAGIC_HOUR_API_KEY" } " is set." }
            }
        }
    }
}

pub(super) fn notifications(render: &RenderView, operator: &Operator, now: DateTime<Utc>) -> Markup {
    let Some(notifications) = render.notifications.as_ref().filter(|list| !list.is_empty()) else { return html! {} };
    let again = Query::of("/ui/notify").with("render", Some(&render.id)).text();
    html! {
        section.panel {
            header {
                h2 { "Notifications" }
                @if operator.may_act() { a.button href=(again) { "Send again…" } }
            }
            ul.plain { @for notification in notifications { li { (entry(notification, now)) } } }
        }
    }
}

fn entry(notification: &NotificationView, now: DateTime<Utc>) -> Markup {
    html! {
        div.file-head { code { (notification.r#type) } (notification_badge(notification.state)) }
        p.muted {
            @if let Some(at) = notification.delivered_at { "accepted " (when(at, now)) }
            @else if let Some(at) = notification.next_attempt_at { "next attempt " (when(at, now)) }
            @if notification.attempts > 1 { " · " (notification.attempts) " attempts" }
        }
        @if let Some(error) = &notification.error { p.error-line { (error) } }
    }
}
