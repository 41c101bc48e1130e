//! The routes of the pages.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{any, get, post};

use super::error::UiError;
use super::throttle::LoginThrottle;
use super::{assets, deliveries, erase, headers, live, login, renders, resend, retry, session, trouble};
use crate::api::{Access, ApiState};
use crate::http::{HttpError, InFlight, Limits, limit_in_flight};

/// The state of the pages.
#[derive(Debug)]
pub struct UiState {
    /// The state of the API, which the pages share.
    pub api: Arc<ApiState>,
    /// Who may log in.
    pub access: Arc<Access>,
    /// Slows down guessing of tokens.
    throttle: LoginThrottle,
}

impl UiState {
    /// The pages of this API.
    #[must_use]
    pub fn new(api: Arc<ApiState>, access: Arc<Access>) -> Self {
        Self { api, access, throttle: LoginThrottle::default() }
    }

    pub(super) fn throttle(&self) -> &LoginThrottle {
        &self.throttle
    }
}

/// The routes under `/ui`.
///
/// The middleware, from the outside in: the security headers, the limit of requests in progress, and who sends the request.
pub fn pages(state: UiState, limits: &Limits) -> Router {
    let state = Arc::new(state);
    let identify = middleware::from_fn_with_state(state.clone(), session::identify);
    let limit = middleware::from_fn_with_state(InFlight::at_most(limits.api_requests), limit_in_flight);
    Router::new()
        .route("/ui", get(trouble::get))
        .route("/ui/", get(trouble::get))
        .route("/ui/downloads", get(trouble::list))
        .route("/ui/retry", get(retry::confirm).post(retry::retry))
        .route("/ui/renders", get(renders::list))
        .route("/ui/renders/{id}", get(renders::get))
        .route("/ui/erase", get(erase::confirm).post(erase::erase))
        .route("/ui/notify", get(resend::confirm).post(resend::send))
        .route("/ui/deliveries", get(deliveries::list))
        .route("/ui/deliveries/{id}", get(deliveries::get))
        .route("/ui/live", get(live::all))
        .route("/ui/renders/{id}/live", get(live::of_render))
        .route("/ui/login", get(login::form).post(login::log_in))
        .route("/ui/logout", post(login::log_out))
        .route_layer(identify)
        .route("/ui/assets/{hash}/{name}", get(assets::get))
        .route("/ui/{*path}", any(no_page))
        .method_not_allowed_fallback(wrong_method)
        .route_layer(limit)
        .layer(middleware::from_fn(headers::secure))
        .with_state(state)
}

async fn no_page() -> UiError {
    UiError::not_found("This page does not exist.")
}

async fn wrong_method() -> UiError {
    HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "This page does not support this method.").into()
}
