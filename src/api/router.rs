//! The routes, and what every request passes: the journal, the guard against panics, and the tokens.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{debug, error, info};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::bearer::Access;
use crate::api::files;
use crate::api::health::{self, Health};
use crate::api::metrics::{self, Metrics};
use crate::api::openapi::{self, Document};
use crate::api::renders::{self, Renders};
use crate::http::HttpError;
use crate::intake::Receiver;
use crate::intake::receive;
use crate::runtime::LogEvent;

/// Everything that answers.
pub fn router(
    receiver: Arc<Receiver>,
    renders: Arc<Renders>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    access: Arc<Access>,
) -> Router {
    let document = Arc::new(Document::new(&document()));
    let files = of_files()
        .with_state(renders.clone())
        .route_layer(middleware::from_fn_with_state((access.clone(), renders.clone()), files::admit));
    let guarded = of_renders()
        .with_state(renders)
        .merge(of_metrics().with_state(metrics))
        .route_layer(middleware::from_fn_with_state(access, admit));
    let routes = of_webhooks()
        .with_state(receiver)
        .merge(of_health().with_state(health))
        .merge(of_the_document().with_state(document))
        .merge(guarded)
        .merge(files);
    let (routes, _described) = routes.split_for_parts();
    routes
        .fallback(|| async { HttpError::not_found("there is nothing here: the README lists the addresses") })
        .method_not_allowed_fallback(|| async {
            HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take this method")
        })
        .layer(CatchPanicLayer::custom(|_panic| {
            error!(event = %LogEvent::HttpResponded, "a handler panicked: please report this");
            HttpError::unavailable().into_response()
        }))
        .layer(middleware::from_fn(journal))
}

fn of_webhooks() -> OpenApiRouter<Arc<Receiver>> {
    OpenApiRouter::new().routes(routes!(receive::receive))
}

fn of_health() -> OpenApiRouter<Arc<Health>> {
    OpenApiRouter::new().routes(routes!(health::livez)).routes(routes!(health::readyz))
}

fn of_the_document() -> OpenApiRouter<Arc<Document>> {
    OpenApiRouter::new().routes(routes!(openapi::get))
}

fn of_renders() -> OpenApiRouter<Arc<Renders>> {
    OpenApiRouter::new()
        .routes(routes!(renders::list::get))
        .routes(routes!(renders::get, renders::track::put))
        .routes(routes!(files::link))
        .routes(routes!(renders::retry))
}

fn of_files() -> OpenApiRouter<Arc<Renders>> {
    OpenApiRouter::new().routes(routes!(files::get))
}

fn of_metrics() -> OpenApiRouter<Arc<Metrics>> {
    OpenApiRouter::new().routes(routes!(metrics::get))
}

/// The OpenAPI document of everything that answers: of the very routes that [`router`] is made of.
#[must_use]
pub fn document() -> OpenApi {
    [
        of_webhooks().into_openapi(),
        of_renders().into_openapi(),
        of_files().into_openapi(),
        of_metrics().into_openapi(),
        of_health().into_openapi(),
        of_the_document().into_openapi(),
    ]
    .into_iter()
    .fold(openapi::about(), OpenApi::merge_from)
}

/// Admits callers with a token.
async fn admit(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if access.admits(request.headers()) { next.run(request).await } else { HttpError::unauthorized().into_response() }
}

/// One line an answer. The address is told as its route: what a stranger puts in a path does not get into the log.
async fn journal(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let duration_ms = u64::try_from(begun.elapsed().min(Duration::from_hours(1)).as_millis()).unwrap_or_default();
    if matches!(route.as_str(), "/livez" | "/readyz") && response.status().is_success() {
        debug!(event = %LogEvent::HttpResponded, http.method = %method, http.route = route, http.status = status, duration_ms, "answered");
    } else {
        info!(event = %LogEvent::HttpResponded, http.method = %method, http.route = route, http.status = status, duration_ms, "answered");
    }
    response
}
