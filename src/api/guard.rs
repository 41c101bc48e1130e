//! Guards the routes that need a token, and limits how many of their requests are in progress.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::Paths;
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::UtoipaMethodRouter;

use crate::api::access::{Access, BearerTokens, Need, Role};
use crate::http::{InFlight, Limits, limit_in_flight};

/// Checks requests before they reach a route. A request without a valid token takes no place among those in progress.
#[derive(Debug, Clone)]
pub(super) struct RouteGuard {
    access: Arc<Access>,
    in_flight: InFlight,
}

/// An extension of a request that may call its route without a token.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdmittedByLink;

impl RouteGuard {
    /// Checks tokens with `access`.
    pub(super) fn new(access: Arc<Access>, limits: &Limits) -> Self {
        Self { access, in_flight: InFlight::at_most(limits.api_requests) }
    }

    /// For the OpenAPI document alone: no request is allowed.
    pub(super) fn closed() -> Self {
        Self { access: Arc::new(Access::Bearer(BearerTokens::default())), in_flight: InFlight::at_most(0) }
    }

    /// Declares what `routes` need, enforces it, and says so in the `OpenAPI` document.
    pub(super) fn requires<S: Clone + Send + Sync + 'static>(
        &self,
        need: Need,
        (schemas, paths, routes): UtoipaMethodRouter<S>,
    ) -> UtoipaMethodRouter<S> {
        let routes = routes
            .route_layer(middleware::from_fn_with_state(self.in_flight.clone(), limit_in_flight))
            .route_layer(middleware::from_fn_with_state((self.access.clone(), need), check_token));
        (schemas, described(paths, need), routes)
    }
}

/// Adds the need to the alternatives that a handler describes itself, such as a link.
fn described(mut paths: Paths, need: Need) -> Paths {
    for path in paths.paths.values_mut() {
        for operation in [&mut path.get, &mut path.put, &mut path.post, &mut path.delete].into_iter().flatten() {
            let others = operation.security.take().unwrap_or_default();
            let roles = Role::ALL.into_iter().filter(|role| role.allows(need));
            let tokens = roles.map(|role| SecurityRequirement::new(role.scheme(), [""; 0]));
            operation.security = Some(tokens.chain(others).collect());
        }
    }
    paths
}

/// Middleware that rejects requests whose token is not valid, or not for this route.
async fn check_token(State((access, need)): State<(Arc<Access>, Need)>, request: Request, next: Next) -> Response {
    let is_admitted = request.extensions().get::<AdmittedByLink>().is_some();
    match access.check(request.headers(), need) {
        Err(error) if !is_admitted => error.into_response(),
        Ok(()) | Err(_) => next.run(request).await,
    }
}
