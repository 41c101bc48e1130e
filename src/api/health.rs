//! `GET /livez` and `GET /readyz`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::http::{HttpError, Message};
use crate::runtime::Database;
use crate::runtime::Shutdown;

/// The routes of health checks: they answer also when the service is overloaded.
pub(super) const ROUTES: [&str; 2] = ["/livez", "/readyz"];

/// What readiness depends on.
#[derive(Debug)]
pub struct Health {
    /// Must answer, and have every migration.
    pub database: Database,
    /// Must not have begun.
    pub shutdown: Shutdown,
}

/// Whether the process runs
///
/// Checks nothing else, so that an outage of a dependency does not restart it.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "live",
    tag = "operations",
    security(()),
    responses(
        (status = 200, description = "The process runs.", body = Message),
        (status = 400, description = "The request is malformed.", body = Message),
    ),
)]
pub(super) async fn livez() -> Json<Message> {
    Json(Message { message: "alive".to_owned() })
}

/// Whether requests should be sent here
///
/// The database answers and has every migration, and the service is not stopping.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    tag = "operations",
    security(()),
    responses(
        (status = 200, description = "The service is ready.", body = Message),
        (status = 400, description = "The request is malformed.", body = Message),
        (status = 503, description = "The service is not ready; the message says why.", body = Message),
    ),
)]
pub(super) async fn readyz(State(health): State<Arc<Health>>) -> Result<Json<Message>, HttpError> {
    let not_ready = |message: &str| HttpError::new(StatusCode::SERVICE_UNAVAILABLE, message);
    if health.shutdown.is_stopping() {
        return Err(not_ready("stopping"));
    }
    match health.database.is_migrated().await {
        Ok(true) => Ok(Json(Message { message: "ready".to_owned() })),
        Ok(false) => Err(not_ready("the database lacks migrations: run `renderhook migrate`")),
        Err(_) => Err(not_ready("the database does not answer")),
    }
}
