//! Forms that were sent by a page of this service.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use maud::{Markup, html};

use crate::http::HttpError;
use crate::ui::error::UiError;
use crate::ui::origin::is_same_origin;
use crate::ui::parameters::Parameters;
use crate::ui::router::UiState;
use crate::ui::session::{Operator, Visitor};

/// The maximum size of a form.
const MAX_FORM_BYTES: usize = 16 << 10;
/// The field with the token that proves that one of our pages sent the form.
const TOKEN_FIELD: &str = "form_token";

/// The hidden field that every form needs.
pub(super) fn token_field(token: &str) -> Markup {
    html! { input type="hidden" name=(TOKEN_FIELD) value=(token); }
}

/// The form that answers a question: `submit` is the label of its button, and `cancel` is where the other button leads.
pub(super) fn answer_form(operator: &Operator, action: &str, fields: &Markup, submit: &Markup, cancel: &str) -> Markup {
    html! {
        form method="post" action=(action) {
            (token_field(&operator.form_token))
            (fields)
            p.buttons {
                button.primary type="submit" { (submit) }
                a.button href=(cancel) { "Cancel" }
            }
        }
    }
}

/// The fields of a form that one of our pages sent: the browser says so, and the form has the token of the browser's session.
#[derive(Debug)]
pub(super) struct CheckedForm(pub(super) Parameters);

impl FromRequest<Arc<UiState>> for CheckedForm {
    type Rejection = UiError;

    async fn from_request(request: Request, state: &Arc<UiState>) -> Result<Self, UiError> {
        let secret = request.extensions().get::<Visitor>().map(|visitor| visitor.form_secret.clone());
        if !is_same_origin(request.headers()) {
            return Err(forbidden(
                "This form was not sent by these pages. If it was, the proxy in front changes `Host`.",
            ));
        }
        let body = state.api.bodies.read(request.into_body(), MAX_FORM_BYTES, too_large).await?;
        let fields = Parameters::parse(&body);
        let token = fields.get(TOKEN_FIELD).unwrap_or_default();
        if !secret.is_some_and(|secret| secret.is_form_token(token)) {
            return Err(forbidden("The page was out of date: go back, reload it, and try again."));
        }
        Ok(Self(fields))
    }
}

fn forbidden(message: &str) -> UiError {
    HttpError::new(StatusCode::FORBIDDEN, message).into()
}

fn too_large() -> HttpError {
    HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "The form is too large.")
}
