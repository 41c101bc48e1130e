//! The layout of every page.

use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::icons::mark;
use crate::ui::assets;
use crate::ui::forms::token_field;
use crate::ui::headers::content_security_policy;
use crate::ui::session::Operator;

/// The section of the menu that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ui) enum Section {
    Trouble,
    Renders,
    Deliveries,
    None,
}

/// The sections in the order of the menu.
const MENU: [(Section, &str, &str); 3] = [
    (Section::Trouble, "/ui", "Trouble"),
    (Section::Renders, "/ui/renders", "Renders"),
    (Section::Deliveries, "/ui/deliveries", "Deliveries"),
];

/// A page.
pub(in crate::ui) struct UiPage<'a> {
    pub(in crate::ui) title: &'a str,
    pub(in crate::ui) section: Section,
    /// Who is logged in; `None` on pages for everybody, which have no menu.
    pub(in crate::ui) operator: Option<&'a Operator>,
    /// A message about what the last form did.
    pub(in crate::ui) done: Option<String>,
    /// The address of the stream that tells the script when the page has changed.
    pub(in crate::ui) live: Option<String>,
    /// The other origins of its pictures and videos.
    pub(in crate::ui) media_origins: Vec<String>,
    /// Whether it has no header and no menu.
    pub(in crate::ui) is_bare: bool,
    /// The address to which the browser goes at once.
    pub(in crate::ui) refresh: Option<&'a str>,
    pub(in crate::ui) content: Markup,
}

impl<'a> UiPage<'a> {
    /// A page for everybody.
    pub(in crate::ui) fn new(title: &'a str, section: Section, content: Markup) -> Self {
        Self {
            title,
            section,
            operator: None,
            done: None,
            live: None,
            media_origins: Vec::new(),
            is_bare: false,
            refresh: None,
            content,
        }
    }

    /// A page for an operator.
    pub(in crate::ui) fn of(operator: &'a Operator, title: &'a str, section: Section, content: Markup) -> Self {
        Self { operator: Some(operator), ..Self::new(title, section, content) }
    }

    fn document(&self) -> Markup {
        let paths = &*assets::PATHS;
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="robots" content="noindex";
                    @if let Some(path) = self.refresh { meta http-equiv="refresh" content={ "0; url=" (path) }; }
                    title { (self.title) " · renderhook" }
                    link rel="stylesheet" href=(paths.style);
                    link rel="icon" href=(paths.icon) type="image/svg+xml";
                    script src=(paths.script) defer {}
                }
                body data-live=[self.live.as_deref()] {
                    a.skip href="#content" { "Skip to content" }
                    @if !self.is_bare { (self.header()) }
                    main #content tabindex="-1" {
                        @if let Some(done) = &self.done { p.done role="status" { (done) } }
                        (self.content)
                    }
                }
            }
        }
    }

    fn header(&self) -> Markup {
        html! {
            header.top {
                div.bar {
                    a.brand href="/ui" { (mark()) span { "renderhook" } }
                    @if let Some(operator) = self.operator {
                        nav.menu aria-label="Main" {
                            @for (section, path, name) in MENU {
                                a href=(path) aria-current=[(section == self.section).then_some("page")] { (name) }
                            }
                        }
                        div.tools {
                            @if self.live.is_some() {
                                button.live #live type="button" hidden { "Live" }
                            }
                            (account(operator))
                        }
                    }
                }
                p.visually-hidden #announcement role="status" {}
            }
        }
    }
}

fn account(operator: &Operator) -> Markup {
    html! {
        @if !operator.may_act() { span.role title="You have logged in with one of READ_TOKENS" { "read only" } }
        @if operator.is_logged_in {
            form method="post" action="/ui/logout" {
                (token_field(&operator.form_token))
                button.quiet type="submit" { "Log out" }
            }
        } @else {
            span.role title="API_TOKENS is none: everyone who reaches this address may do everything" { "no login" }
        }
    }
}

impl IntoResponse for UiPage<'_> {
    fn into_response(self) -> Response {
        let policy = content_security_policy(&self.media_origins);
        ([(CONTENT_SECURITY_POLICY, policy)], Html(self.document().into_string())).into_response()
    }
}
