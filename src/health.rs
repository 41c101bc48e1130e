//! `GET /livez` and `GET /readyz`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::answer::{Message, Refusal};
use crate::database::Database;
use crate::shutdown::Shutdown;

/// What readiness depends on.
#[derive(Debug)]
pub struct Health {
    /// Whether it answers, and has the schema.
    pub database: Database,
    /// Whether the service is about to end.
    pub shutdown: Shutdown,
}

/// The process runs: nothing else is looked at, so that no trouble of a neighbour restarts it.
pub async fn livez() -> Json<Message> {
    Json(Message { message: "alive".to_owned() })
}

/// Whether requests should be sent here.
pub async fn readyz(State(health): State<Arc<Health>>) -> Result<Json<Message>, Refusal> {
    let not_ready = |message: &str| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message);
    if health.shutdown.is_stopping() {
        return Err(not_ready("stopping"));
    }
    match health.database.is_migrated().await {
        Ok(true) => Ok(Json(Message { message: "ready".to_owned() })),
        Ok(false) => Err(not_ready("the database lacks migrations: run `renderhook migrate`")),
        Err(_) => Err(not_ready("the database does not answer")),
    }
}
