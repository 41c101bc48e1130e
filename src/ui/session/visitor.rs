//! Who sends a request: middleware that looks the session up.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;

use super::cookies::{FORM, SESSION, Transport};
use super::secret::BrowserSecret;
use crate::api::{Access, Role};
use crate::http::HttpError;
use crate::runtime::REQUEST_TIMEOUT;
use crate::ui::error::UiError;
use crate::ui::queries;
use crate::ui::router::UiState;

/// How long a session lasts: a working day.
pub(in crate::ui) const SESSION_LIFETIME: TimeDelta = TimeDelta::hours(12);
/// How long a form to log in works, in seconds.
const FORM_LIFETIME: i64 = 12 * 60 * 60;

/// Who sends a request, an extension of every request for a page.
#[derive(Clone)]
pub(in crate::ui) struct Visitor {
    pub(in crate::ui) transport: Transport,
    /// What the visitor may do; `None` without a session.
    pub(in crate::ui) role: Option<Role>,
    /// The secret of the session; `None` without one, also if none is needed.
    pub(in crate::ui) session: Option<BrowserSecret>,
    /// What the forms of the browser are protected with.
    pub(in crate::ui) form_secret: BrowserSecret,
    /// Whether the browser does not know `form_secret` yet.
    is_new: bool,
}

/// Middleware that finds out who sends the request.
pub(in crate::ui) async fn identify(State(state): State<Arc<UiState>>, mut request: Request, next: Next) -> Response {
    let visitor = match Visitor::of(&state, request.headers()).await {
        Ok(visitor) => visitor,
        Err(error) => return UiError::from(error).into_response(),
    };
    request.extensions_mut().insert(visitor.clone());
    let mut response = next.run(request).await;
    if visitor.is_new && is_page(&response) {
        let cookie = visitor.transport.cookie(FORM, &visitor.form_secret, FORM_LIFETIME);
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

impl Visitor {
    async fn of(state: &UiState, headers: &HeaderMap) -> Result<Self, HttpError> {
        let transport = Transport::of(headers);
        let (role, session) = match &state.access {
            access if matches!(**access, Access::Anyone) => (Some(Role::Full), None),
            _ => match transport.secret(headers, SESSION) {
                None => (None, None),
                Some(secret) => {
                    let role = session_role(state, &secret).await?;
                    (role, role.map(|_| secret))
                }
            },
        };
        let known = session.clone().or_else(|| transport.secret(headers, FORM));
        let is_new = known.is_none();
        Ok(Self { transport, role, session, form_secret: known.unwrap_or_else(BrowserSecret::random), is_new })
    }
}

/// What the session with this secret may do; `None` if there is none (any more).
async fn session_role(state: &UiState, secret: &BrowserSecret) -> Result<Option<Role>, HttpError> {
    let (database, now) = (&state.api.database, state.api.clock.now());
    let hash = secret.hash();
    let session = queries::session(database.pool(), &hash, now);
    let Some(session) = database.with_timeout(REQUEST_TIMEOUT, session).await? else { return Ok(None) };
    let current = match &*state.access {
        Access::Anyone => None,
        Access::Bearer(tokens) => tokens.role_of_fingerprint(&session.token_fingerprint),
    };
    // The token must still be in the settings, and have the role that it had.
    Ok(current.filter(|role| queries::role_name(*role) == Some(session.role.as_str())))
}

/// Whether the visitor still has a session, if one is needed.
pub(in crate::ui) async fn is_session_alive(state: &UiState, visitor: &Visitor) -> bool {
    match &visitor.session {
        None => visitor.role.is_some(),
        // If the database does not answer, nothing is shown either.
        Some(secret) => session_role(state, secret).await.is_ok_and(|role| role == visitor.role),
    }
}

fn is_page(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|it| it.starts_with(b"text/html"))
}
