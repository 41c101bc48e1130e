//! Extractors: who may see a page, and who may change something.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;

use super::visitor::Visitor;
use crate::api::Role;
use crate::http::HttpError;
use crate::ui::error::UiError;
use crate::ui::html::{Section, UiPage};
use crate::ui::return_path::ReturnPath;
use crate::ui::router::UiState;

/// Someone who may see the pages.
#[derive(Debug, Clone)]
pub(in crate::ui) struct Operator {
    pub(in crate::ui) role: Role,
    /// The token for the forms of a page.
    pub(in crate::ui) form_token: String,
    /// Whether there is a session to end.
    pub(in crate::ui) is_logged_in: bool,
}

/// Someone who may change something.
#[derive(Debug, Clone)]
pub(in crate::ui) struct Actor;

impl Operator {
    pub(in crate::ui) fn may_act(&self) -> bool {
        self.role.may_act()
    }
}

impl FromRequestParts<Arc<UiState>> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &Arc<UiState>) -> Result<Self, Response> {
        // Every route has the middleware.
        let Some(visitor) = parts.extensions.get::<Visitor>() else { return Err(must_log_in(parts)) };
        match visitor.role.filter(|role| role.may_read()) {
            Some(role) => {
                Ok(Self { role, form_token: visitor.form_secret.form_token(), is_logged_in: visitor.session.is_some() })
            }
            None => Err(must_log_in(parts)),
        }
    }
}

impl FromRequestParts<Arc<UiState>> for Actor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<UiState>) -> Result<Self, Response> {
        let operator = Operator::from_request_parts(parts, state).await?;
        let refused = || {
            let message =
                "You have logged in with one of READ_TOKENS, which may only look. Log in with one of API_TOKENS.";
            UiError::from(HttpError::new(StatusCode::FORBIDDEN, message)).into_response()
        };
        operator.may_act().then_some(Self).ok_or_else(refused)
    }
}

/// Redirects to the login form, which leads back here.
fn must_log_in(parts: &Parts) -> Response {
    if parts.method != Method::GET && parts.method != Method::HEAD {
        let message = "Your session has ended: log in, and try again.";
        return UiError::from(HttpError::new(StatusCode::UNAUTHORIZED, message)).into_response();
    }
    let asked = parts.uri.path_and_query().map_or("/ui", |it| it.as_str());
    let back = ReturnPath::parse(asked);
    if comes_from_elsewhere(&parts.headers) {
        return reload(&back);
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", back.as_str()).finish();
    Redirect::to(&format!("/ui/login?{query}")).into_response()
}

/// Whether a link on another site led here. Then the browser has withheld its cookie, which it sends with the next request.
fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site")
}

/// A page that makes the browser request the same page again.
fn reload(path: &ReturnPath) -> Response {
    let content = html! { p { a href=(path.as_str()) { "Continue" } } };
    UiPage { refresh: Some(path.as_str()), ..UiPage::new("One moment", Section::None, content) }.into_response()
}
