//! `GET /livez` and `GET /readyz`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::http::{HttpError, Message};
use crate::runtime::Database;
use crate::runtime::Shutdown;

/// What readiness depends on.
#[derive(Debug)]
pub struct Health {
    /// Whether it answers, and has the schema.
    pub database: Database,
    /// Whether the service is about to end.
    pub shutdown: Shutdown,
}

/// Whether the process runs
///
/// Nothing else is looked at, so that no trouble of a neighbour restarts it.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "live",
    tag = "health",
    security(()),
    responses((status = 200, description = "It runs.", body = Message)),
)]
pub(super) async fn livez() -> Json<Message> {
    Json(Message { message: "alive".to_owned() })
}

/// Whether requests should be sent here
///
/// The database answers and has every migration, and the service is not about to stop.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    tag = "health",
    security(()),
    responses(
        (status = 200, description = "They should.", body = Message),
        (status = 503, description = "They should not; the message says why.", body = Message),
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
