//! The routes and their middleware.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::access::Access;
use crate::api::guard::RouteGuard;
use crate::api::health::{self, Health};
use crate::api::metrics::{self, Metrics};
use crate::api::openapi::{self, Document};
use crate::api::renders::{self, ApiState};
use crate::api::{deliveries, events, files};
use crate::http::{HttpError, Journal, Limits, ReservedConnection, check_request, journal};
use crate::intake::{Receiver, webhook_routes};

/// The routers of the addresses.
#[derive(Debug)]
pub struct Routers {
    /// Of the address that the public reaches.
    pub public: Router,
    /// Of the address for everything but the webhook, if it has one of its own.
    pub api: Option<Router>,
}

/// How requests are logged.
const JOURNAL: Journal = Journal { quiet_routes: &health::ROUTES, refusing_routes: &["/webhook", "/ui/login"] };

/// The state of all routes.
#[derive(Debug)]
pub struct RouteStates {
    /// Of `/webhook`.
    pub receiver: Arc<Receiver>,
    /// Of renders, files, and events.
    pub api: Arc<ApiState>,
    /// Of the metrics.
    pub metrics: Arc<Metrics>,
    /// Of the health checks.
    pub health: Arc<Health>,
    /// Who may use the API.
    pub access: Arc<Access>,
}

/// One router for everything, or with `own_api_address` one for each address: the public one has the webhook, the other one
/// everything else, and both have the health checks. `pages` are more routes of the address with everything else.
///
/// The middleware, from the outside in: the request log, catching panics, protocol checks, and keeping reserved
/// connections free for health checks. Routes that need a token also check it and limit the number of requests in
/// progress.
#[must_use]
pub fn routers(states: &RouteStates, pages: Router, limits: &Limits, own_api_address: bool) -> Routers {
    let public = health_routes().with_state(states.health.clone());
    let public = public.merge(webhook_routes().with_state(states.receiver.clone()));
    if own_api_address {
        let api =
            health_routes().with_state(states.health.clone()).merge(api_routes(states, limits)).merge(pages.into());
        let no_route = "this path does not exist at this address, which has only /webhook, /livez and /readyz";
        Routers { public: wrapped(public, no_route), api: Some(wrapped(api, NO_ROUTE)) }
    } else {
        Routers { public: wrapped(public.merge(api_routes(states, limits)).merge(pages.into()), NO_ROUTE), api: None }
    }
}

/// The message of a 404 for an unknown path.
const NO_ROUTE: &str = "this path does not exist: GET /openapi.json lists the routes";

/// Everything but the webhook and the health checks.
fn api_routes(states: &RouteStates, limits: &Limits) -> OpenApiRouter {
    let RouteStates { api, metrics, access, .. } = states;
    let guard = RouteGuard::new(access.clone(), limits);
    let by_link = middleware::from_fn_with_state((access.clone(), api.clone()), files::admit_by_link);
    let files = files::routes(&guard).with_state(api.clone()).route_layer(by_link);
    let document = Arc::new(Document::new(&openapi_document()));
    render_routes(&guard)
        .with_state(api.clone())
        .merge(metrics::routes(&guard).with_state(metrics.clone()))
        .merge(document_routes().with_state(document))
        .merge(files)
}

/// The routes with the middleware of all requests.
fn wrapped(routes: OpenApiRouter, no_route: &'static str) -> Router {
    let (routes, _documented) = routes.split_for_parts();
    routes
        .fallback(async move || HttpError::not_found(no_route))
        .method_not_allowed_fallback(|| async {
            HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not support this method")
        })
        .layer(middleware::from_fn(check_reserved_connection))
        .layer(middleware::from_fn(check_request))
        .layer(CatchPanicLayer::custom(|_panic| HttpError::panicked().into_response()))
        .layer(middleware::from_fn_with_state(JOURNAL, journal))
}

fn health_routes() -> OpenApiRouter<Arc<Health>> {
    OpenApiRouter::new().routes(routes!(health::livez)).routes(routes!(health::readyz))
}

fn document_routes() -> OpenApiRouter<Arc<Document>> {
    OpenApiRouter::new().routes(routes!(openapi::get))
}

fn render_routes(guard: &RouteGuard) -> OpenApiRouter<Arc<ApiState>> {
    renders::routes(guard)
        .merge(events::routes(guard))
        .merge(files::link_routes(guard))
        .merge(deliveries::routes(guard))
}

/// The `OpenAPI` document, built from the same routes as [`routers`].
#[must_use]
pub fn openapi_document() -> OpenApi {
    let guard = RouteGuard::closed();
    [
        webhook_routes().into_openapi(),
        render_routes(&guard).into_openapi(),
        files::routes(&guard).into_openapi(),
        metrics::routes(&guard).into_openapi(),
        health_routes().into_openapi(),
        document_routes().into_openapi(),
    ]
    .into_iter()
    .fold(openapi::about(), OpenApi::merge_from)
}

/// Middleware that rejects everything but health checks on reserved connections.
async fn check_reserved_connection(request: Request, next: Next) -> Response {
    let reserved = request.extensions().get::<ReservedConnection>().is_some();
    if reserved && !health::ROUTES.contains(&request.uri().path()) {
        return HttpError::overloaded().into_response();
    }
    next.run(request).await
}
