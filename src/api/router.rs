//! The routes and their middleware.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::bearer::{Access, unauthorized};
use crate::api::health::{self, Health};
use crate::api::metrics::{self, Metrics};
use crate::api::openapi::{self, Document};
use crate::api::renders::{self, ApiState};
use crate::api::{events, files};
use crate::http::{HttpError, InFlight, Journal, Limits, ReservedConnection, check_request, journal, limit_in_flight};
use crate::intake::{Receiver, webhook_routes};

/// The router for all requests.
///
/// The middleware, from the outside in: the request log, catching panics, protocol checks, and keeping reserved
/// connections free for health checks. API routes also check the token and limit the number of requests in progress.
pub fn router(
    receiver: Arc<Receiver>,
    renders: Arc<ApiState>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    access: Arc<Access>,
    limits: &Limits,
) -> Router {
    let document = Arc::new(Document::new(&openapi_document()));
    let in_flight = InFlight::at_most(limits.api_requests);
    let files = file_routes()
        .with_state(renders.clone())
        .route_layer(middleware::from_fn_with_state(in_flight.clone(), limit_in_flight))
        .route_layer(middleware::from_fn_with_state((access.clone(), renders.clone()), files::check_token_or_link));
    let authenticated = render_routes()
        .with_state(renders)
        .merge(metrics_routes().with_state(metrics))
        .route_layer(middleware::from_fn_with_state(in_flight, limit_in_flight))
        .route_layer(middleware::from_fn_with_state(access, check_token));
    let routes = webhook_routes()
        .with_state(receiver)
        .merge(health_routes().with_state(health))
        .merge(document_routes().with_state(document))
        .merge(authenticated)
        .merge(files);
    let (routes, _documented) = routes.split_for_parts();
    routes
        .fallback(|| async { HttpError::not_found("this path does not exist: GET /openapi.json lists the routes") })
        .method_not_allowed_fallback(|| async {
            HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not support this method")
        })
        .layer(middleware::from_fn(check_reserved_connection))
        .layer(middleware::from_fn(check_request))
        .layer(CatchPanicLayer::custom(|_panic| HttpError::panicked().into_response()))
        .layer(middleware::from_fn_with_state(Journal { quiet_routes: &health::ROUTES }, journal))
}

fn health_routes() -> OpenApiRouter<Arc<Health>> {
    OpenApiRouter::new().routes(routes!(health::livez)).routes(routes!(health::readyz))
}

fn document_routes() -> OpenApiRouter<Arc<Document>> {
    OpenApiRouter::new().routes(routes!(openapi::get))
}

fn render_routes() -> OpenApiRouter<Arc<ApiState>> {
    renders::routes().merge(events::routes()).routes(routes!(files::link))
}

fn file_routes() -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(routes!(files::get))
}

fn metrics_routes() -> OpenApiRouter<Arc<Metrics>> {
    OpenApiRouter::new().routes(routes!(metrics::get))
}

/// The `OpenAPI` document, built from the same routes as [`router`].
#[must_use]
pub fn openapi_document() -> OpenApi {
    [
        webhook_routes().into_openapi(),
        render_routes().into_openapi(),
        file_routes().into_openapi(),
        metrics_routes().into_openapi(),
        health_routes().into_openapi(),
        document_routes().into_openapi(),
    ]
    .into_iter()
    .fold(openapi::about(), OpenApi::merge_from)
}

/// Middleware that rejects requests without a valid token.
async fn check_token(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if access.admits(request.headers()) { next.run(request).await } else { unauthorized().into_response() }
}

/// Middleware that rejects everything but health checks on reserved connections.
async fn check_reserved_connection(request: Request, next: Next) -> Response {
    let reserved = request.extensions().get::<ReservedConnection>().is_some();
    if reserved && !health::ROUTES.contains(&request.uri().path()) {
        return HttpError::overloaded().into_response();
    }
    next.run(request).await
}
