//! The sections of the first page, each left out if there is nothing to say.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::report::TroubleReport;
use crate::domain::DownloadState;
use crate::ui::html::{Icon, Query, Tone, badge, count, download_badge, icon, plural, render_path, until, when};
use crate::ui::queries::{COUNT_LIMIT, FailedRenders, NotificationTrouble, TroubledDownloads, UnusedDeliveries};
use crate::ui::session::Operator;

pub(super) fn sections(report: &TroubleReport, operator: &Operator, now: DateTime<Utc>) -> Markup {
    html! {
        (alerts(report, now))
        @if !report.downloads.is_empty() { (downloads(&report.downloads, operator, now)) }
        @if !report.renders.is_empty() { (renders(&report.renders, now)) }
        @if !report.warnings.notifications.is_empty() {
            (notifications(&report.warnings.notifications, operator, now))
        }
        @if !report.warnings.deliveries.is_empty() { (deliveries(&report.warnings.deliveries, now)) }
        (render_links("Unknown to Magic Hour", "A poll was told that there is no such render: was it deleted there, or does it \
                 belong to another account?", &report.warnings.not_found))
        (render_links("Unfinished for more than a week", "Magic Hour still reports these as queued or rendering.",
                &report.warnings.stalled))
    }
}

fn alerts(report: &TroubleReport, now: DateTime<Utc>) -> Markup {
    let backlog = &report.backlog;
    html! {
        @if backlog.endangered > 0 {
            div.alert.bad role="note" {
                (icon(Icon::Clock))
                p {
                    strong { (plural(backlog.endangered, "file is", "files are")) " about to be lost." }
                    " Attempts fail or do not begin, and the first URL "
                    @if let Some(at) = backlog.most_urgent_expires_at {
                        @if at > now { "expires " } (until(at, now, "expired"))
                    }
                    @if let Some(id) = &backlog.most_urgent { ": " a href=(render_path(id)) { (id) } } "."
                }
            }
        }
        @if let Some(at) = report.warnings.paused_until {
            div.alert.warning role="note" {
                (icon(Icon::Clock))
                p { strong { "Calls of Magic Hour's API are paused." } " The next one is " (when(at, now)) ": polls, fresh URLs and deletion wait." }
            }
        }
        @if report.missing_webhooks > 0 {
            div.alert.warning role="note" {
                (icon(Icon::Inbox))
                p {
                    strong { "No webhook reported the end of " (plural(report.missing_webhooks, "render", "renders")) "." }
                    " In the last 24 hours, only polls did. Is the webhook enabled in Developer Hub, with all events?"
                }
            }
        }
    }
}

fn retry_link(state: DownloadState, error: Option<&str>) -> String {
    Query::of("/ui/retry").with("state", Some(state.as_str())).with("error", error).text()
}

fn downloads(groups: &[TroubledDownloads], operator: &Operator, now: DateTime<Utc>) -> Markup {
    let can_retry = groups.iter().any(|group| group.state == DownloadState::Failed && group.with_url > 0);
    html! {
        section.panel {
            header {
                h2 { "Downloads" }
                @if operator.may_act() && can_retry {
                    a.button href=(retry_link(DownloadState::Failed, None)) { (icon(Icon::Retry)) "Retry all failed…" }
                }
            }
            table {
                caption.visually-hidden { "Downloads in trouble, by error" }
                thead { tr {
                    th scope="col" { "Error" } th scope="col" { "State" } th.num scope="col" { "Files" }
                    th scope="col" { "Since" } th scope="col" { "First URL expires" } th scope="col" { "Next attempt" }
                    th scope="col" { span.visually-hidden { "Actions" } }
                } }
                tbody { @for group in groups { (download_row(group, operator, now)) } }
            }
        }
    }
}

fn download_row(group: &TroubledDownloads, operator: &Operator, now: DateTime<Utc>) -> Markup {
    let files =
        Query::of("/ui/downloads").with("state", Some(group.state)).with("error", Some(&group.error_code)).text();
    html! {
        tr {
            th scope="row" { a href=(files) { code { (group.error_code) } } @if let Some(text) = &group.message { p.message { (text) } } }
            td data-label="State" { (download_badge(group.state)) }
            td.num data-label="Files" { (count(group.count, Some(COUNT_LIMIT))) }
            td data-label="Since" { @if let Some(at) = group.oldest_at { (when(at, now)) } }
            td data-label="First URL expires" {
                @match group.first_expires_at { Some(at) => (until(at, now, "expired")), None => span.muted { "unknown" } }
            }
            td data-label="Next attempt" {
                @match group.next_attempt_at { Some(at) => (when(at, now)), None => span.muted { "none" } }
            }
            td.actions {
                @if operator.may_act() && group.with_url > 0 {
                    a.button href=(retry_link(group.state, Some(&group.error_code))) {
                        @if group.state == DownloadState::Failed { "Retry…" } @else { "Try now…" }
                        span.visually-hidden { " " (group.error_code) }
                    }
                }
            }
        }
    }
}

fn renders(groups: &[FailedRenders], now: DateTime<Utc>) -> Markup {
    let all = Query::of("/ui/renders").with("status", Some("error")).with("within", Some("24h")).text();
    html! {
        section.panel {
            header { h2 { "Renders that Magic Hour failed" } span.muted { "last 24 hours" } a.button href=(all) { "Show" } }
            table {
                caption.visually-hidden { "Failed renders, by error" }
                thead { tr {
                    th scope="col" { "Error" } th.num scope="col" { "Renders" } th scope="col" { "Oldest" } th scope="col" { "Newest" }
                } }
                tbody { @for group in groups { tr {
                    th scope="row" {
                        @match &group.error_code {
                            Some(code) => a href=(Query::of(&all).with("error", Some(code)).text()) { code { (code) } },
                            None => span.muted { "no code" }
                        }
                        @if let Some(text) = &group.message { p.message { (text) } }
                    }
                    td.num data-label="Renders" { (count(group.count, None)) }
                    td data-label="Oldest" { (when(group.oldest_at, now)) }
                    td data-label="Newest" { (when(group.newest_at, now)) }
                } } }
            }
        }
    }
}

fn notifications(groups: &[NotificationTrouble], operator: &Operator, now: DateTime<Utc>) -> Markup {
    let any_failed = groups.iter().any(|group| group.state == "failed");
    html! {
        section.panel {
            header {
                h2 { "Notifications that were not accepted" }
                @if operator.may_act() && any_failed {
                    a.button href="/ui/notify" { (icon(Icon::Retry)) "Send all failed again…" }
                }
            }
            table {
                caption.visually-hidden { "Notifications in trouble, by error" }
                thead { tr {
                    th scope="col" { "Error" } th scope="col" { "State" } th.num scope="col" { "Notifications" }
                    th scope="col" { "Oldest" } th scope="col" { "Next attempt" } th scope="col" { "Such as" }
                } }
                tbody { @for group in groups { tr {
                    th scope="row" { (group.error) }
                    td data-label="State" { (badge(if group.state == "failed" { Tone::Bad } else { Tone::Busy }, &group.state)) }
                    td.num data-label="Notifications" { (count(group.count, Some(COUNT_LIMIT))) }
                    td data-label="Oldest" { (when(group.oldest_at, now)) }
                    td data-label="Next attempt" { @match group.next_attempt_at { Some(at) => (when(at, now)), None => span.muted { "none" } } }
                    td.id data-label="Such as" { a href=(render_path(&group.render_id)) { (group.render_id) } }
                } } }
            }
        }
    }
}

fn deliveries(groups: &[UnusedDeliveries], now: DateTime<Utc>) -> Markup {
    let meaning = |outcome: &str| match outcome {
        "unknown" => html! {
            "A type or status that this version does not know. After an update, " code { "renderhook replay" } " reads them again."
        },
        "unreadable" => html! { "Signed by Magic Hour, but not an event." },
        _ => html! { "Signed too long ago, or the clocks differ: the render was polled instead." },
    };
    html! {
        section.panel {
            header { h2 { "Deliveries that were not used" } span.muted { "last 24 hours" } }
            table {
                caption.visually-hidden { "Deliveries that were not used, by outcome" }
                thead { tr {
                    th scope="col" { "Outcome" } th.num scope="col" { "Deliveries" } th scope="col" { "Newest" }
                } }
                tbody { @for group in groups { tr {
                    th scope="row" {
                        a href=(Query::of("/ui/deliveries").with("outcome", Some(&group.outcome)).text()) { (group.outcome) }
                        p.message { (meaning(&group.outcome)) }
                    }
                    td.num data-label="Deliveries" { (count(group.count, None)) }
                    td data-label="Newest" { (when(group.newest_at, now)) }
                } } }
            }
        }
    }
}

/// How many renders a section lists at most.
const SHOWN: usize = 20;

fn render_links(title: &str, meaning: &str, ids: &[String]) -> Markup {
    html! {
        @if !ids.is_empty() {
            section.panel {
                header { h2 { (title) } span.muted { (plural(i64::try_from(ids.len()).unwrap_or(i64::MAX), "render", "renders")) } }
                p.inside { (meaning) }
                ul.ids {
                    @for id in ids.iter().take(SHOWN) { li { a href=(render_path(id)) { (id) } } }
                    @if ids.len() > SHOWN { li.muted { "and " (count(i64::try_from(ids.len() - SHOWN).unwrap_or(i64::MAX), None)) " more" } }
                }
            }
        }
    }
}
