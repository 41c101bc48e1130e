//! Logging in and out.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use tracing::{info, warn};

use super::error::UiError;
use super::forms::{CheckedForm, token_field};
use super::html::{Section, UiPage, mark};
use super::parameters::Parameters;
use super::queries::{self, NewSession};
use super::return_path::ReturnPath;
use super::router::UiState;
use super::session::{BrowserSecret, SESSION, SESSION_LIFETIME, Visitor, cleared};
use crate::api::{Access, Role, TokenFingerprint};
use crate::http::client_address;
use crate::runtime::{LogEvent, REQUEST_TIMEOUT};

/// Why a login fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoginRefusal {
    Unknown,
    /// It is one of `METRICS_TOKENS`.
    NotForPages,
    Throttled(Duration),
}

/// `GET /ui/login`.
pub(super) async fn form(Extension(visitor): Extension<Visitor>, parameters: Parameters) -> Response {
    let next = ReturnPath::parse(parameters.get("next").unwrap_or_default());
    if visitor.role.is_some() {
        return Redirect::to(next.as_str()).into_response();
    }
    page(&visitor, &next, None).into_response()
}

/// `POST /ui/login`.
pub(super) async fn log_in(
    State(state): State<Arc<UiState>>,
    Extension(visitor): Extension<Visitor>,
    extensions: Extensions,
    headers: HeaderMap,
    CheckedForm(fields): CheckedForm,
) -> Result<Response, UiError> {
    let next = ReturnPath::parse(fields.get("next").unwrap_or_default());
    let Access::Bearer(_) = &*state.access else { return Ok(Redirect::to(next.as_str()).into_response()) };
    let token = fields.get("token").unwrap_or_default();
    match admit(&state, &extensions, &headers, token) {
        Ok((role, fingerprint)) => begin(&state, &visitor, role, fingerprint, &next).await,
        Err(refusal) => Ok(refused(&visitor, &next, refusal)),
    }
}

/// Checks a token, unless too many were wrong.
fn admit(
    state: &UiState,
    extensions: &Extensions,
    headers: &HeaderMap,
    token: &str,
) -> Result<(&'static str, TokenFingerprint), LoginRefusal> {
    let client = client_address(extensions, headers);
    state.throttle().admit(client).map_err(LoginRefusal::Throttled)?;
    let found = match &*state.access {
        Access::Anyone => None,
        Access::Bearer(tokens) => tokens.recognize(token.as_bytes()),
    };
    let (role, fingerprint) = found.ok_or(LoginRefusal::Unknown)?;
    state.throttle().succeeded(client);
    queries::role_name(role).map(|role| (role, fingerprint)).ok_or(LoginRefusal::NotForPages)
}

/// Begins a session with a secret of its own, whatever cookies the browser had.
async fn begin(
    state: &UiState,
    visitor: &Visitor,
    role: &'static str,
    token: TokenFingerprint,
    next: &ReturnPath,
) -> Result<Response, UiError> {
    let (database, now, secret) = (&state.api.database, state.api.clock.now(), BrowserSecret::random());
    let session = NewSession { secret_hash: secret.hash(), token, role, expires_at: now + SESSION_LIFETIME };
    database.with_timeout(REQUEST_TIMEOUT, queries::begin_session(database.pool(), &session, now)).await?;
    info!(event = %LogEvent::UiLogin, role, "an operator logged in");
    let cookie = visitor.transport.cookie(SESSION, &secret, SESSION_LIFETIME.num_seconds());
    Ok(([(SET_COOKIE, cookie)], Redirect::to(next.as_str())).into_response())
}

fn refused(visitor: &Visitor, next: &ReturnPath, refusal: LoginRefusal) -> Response {
    let (status, message) = match refusal {
        LoginRefusal::Unknown => {
            warn!(event = %LogEvent::UiLoginRefused, "someone tried to log in with an unknown token");
            (StatusCode::UNAUTHORIZED, "This token is not one of API_TOKENS or READ_TOKENS.".to_owned())
        }
        LoginRefusal::NotForPages => {
            let settings = [Role::Full, Role::Read].map(Role::setting).join(" or ");
            (StatusCode::FORBIDDEN, format!("This token may only read the metrics. Log in with one of {settings}."))
        }
        LoginRefusal::Throttled(wait) => {
            let seconds = seconds(wait);
            let message = format!("Too many wrong tokens were tried. Try again in {seconds} s.");
            let page = page(visitor, next, Some(&message));
            return (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds.to_string())], page).into_response();
        }
    };
    (status, page(visitor, next, Some(&message))).into_response()
}

/// Whole seconds, rounded up.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn page(visitor: &Visitor, next: &ReturnPath, problem: Option<&str>) -> UiPage<'static> {
    let content = login_form(&visitor.form_secret.form_token(), next, problem);
    UiPage { is_bare: true, ..UiPage::new("Log in", Section::None, content) }
}

fn login_form(token: &str, next: &ReturnPath, problem: Option<&str>) -> Markup {
    html! {
        form.login method="post" action="/ui/login" {
            div.login-brand { (mark()) h1 { "renderhook" } }
            p.muted { "Renders, downloads and deliveries of Magic Hour." }
            (token_field(token))
            input type="hidden" name="next" value=(next.as_str());
            label for="token" { "Token" }
            input #token type="password" name="token" required autofocus autocomplete="current-password" spellcheck="false"
                aria-invalid=[problem.map(|_| "true")] aria-describedby=[problem.map(|_| "problem")];
            @if let Some(problem) = problem { p #problem.problem role="alert" { (problem) } }
            button.primary type="submit" { "Log in" }
            p.hint { "One of " code { "API_TOKENS" } ", or of " code { "READ_TOKENS" } " to look only. You stay logged in for 12 hours." }
        }
    }
}

/// `POST /ui/logout`: ends the session in every replica.
pub(super) async fn log_out(
    State(state): State<Arc<UiState>>,
    Extension(visitor): Extension<Visitor>,
    _form: CheckedForm,
) -> Result<Response, UiError> {
    if let Some(secret) = &visitor.session {
        let database = &state.api.database;
        let hash = secret.hash();
        database.with_timeout(REQUEST_TIMEOUT, queries::end_session(database.pool(), &hash)).await?;
    }
    let cookie = cleared(visitor.transport, SESSION);
    Ok(([(SET_COOKIE, cookie)], Redirect::to("/ui/login")).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_wait_is_rounded_up() {
        for (millis, expected) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (5500, 6)] {
            assert_eq!(seconds(Duration::from_millis(millis)), expected);
        }
    }
}
