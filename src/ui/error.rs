//! Errors as pages.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::html::{Section, UiPage};
use crate::http::HttpError;
use crate::runtime::DatabaseError;

/// An error answer that is a page.
#[derive(Debug)]
pub(super) struct UiError(HttpError);

impl UiError {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self(HttpError::bad_request(message))
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self(HttpError::not_found(message))
    }
}

impl From<HttpError> for UiError {
    fn from(error: HttpError) -> Self {
        Self(error)
    }
}

impl From<DatabaseError> for UiError {
    fn from(error: DatabaseError) -> Self {
        Self(error.into())
    }
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "That cannot be read",
        StatusCode::UNAUTHORIZED => "Not logged in",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::METHOD_NOT_ALLOWED => "Not possible here",
        StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
        StatusCode::SERVICE_UNAVAILABLE => "Not available right now",
        _ => "That did not work",
    }
}

impl IntoResponse for UiError {
    fn into_response(self) -> Response {
        let title = title(self.0.status());
        let content = html! {
            div.notice-page {
                p.big { (self.0.status().as_u16()) }
                h1 { (title) }
                p { (self.0.message()) }
                p { a.button href="/ui" { "Go to the first page" } }
            }
        };
        let page = UiPage::new(title, Section::None, content).into_response();
        // The error's own headers, such as `Retry-After`, and its cause for the request log.
        let (mut head, _json) = self.0.into_response().into_parts();
        let (page_head, body) = page.into_parts();
        head.headers.extend(page_head.headers);
        head.headers.remove("content-length");
        Response::from_parts(head, body)
    }
}
