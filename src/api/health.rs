//! `GET /livez` and `GET /readyz`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::http::{HttpError, Message};
use crate::runtime::Database;
use crate::runtime::Shutdown;

/// The routes of health checks. They also work when the service is overloaded.
pub(super) const ROUTES: [&str; 2] = ["/livez", "/readyz"];

/// The state of the health checks.
#[derive(Debug)]
pub struct Health {
    /// The database, which must answer and have every migration.
    pub database: Database,
    /// Whether the service is stopping.
    pub shutdown: Shutdown,
}

/// Whether the process is running
///
/// Checks no dependency, so that an outage of one does not restart the process.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "live",
    tag = "operations",
    security(()),
    responses(
        (status = 200, description = "The process is running.", body = Message),
        (status = 400, description = "The request is malformed.", body = Message),
    ),
)]
pub(super) async fn livez() -> Json<Message> {
    Json(Message { message: "alive".to_owned() })
}

/// Whether the service is ready for requests
///
/// Checks that the database answers and has every migration, and that the service is not stopping.
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
        Ok(false) => Err(not_ready("the database is missing migrations: run `renderhook migrate`")),
        Err(_) => Err(not_ready("the database does not answer")),
    }
}
