//! The details call and the deletion, with the documented answers.
//!
//! `GET` and `DELETE /v1/{kind}-projects/{id}`, with the API key as a bearer token: 401 without it; 404 for a project
//! that is unknown, deleted or of another kind; 204 for a deletion; 422 for the deletion of a template's project. Every
//! error is `{"message": "…"}`. A call is logged before it is answered.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use chrono::{DateTime, Utc};
use renderhook::domain::Kind;
use renderhook::runtime::Clock;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::call_log::{ApiCall, CallLog};
use super::faults::{Fault, Faults};
use super::http_connection::CloseConnection;
use super::projects::{Deletion, Projects};

/// What the handlers share.
#[derive(Debug, Clone)]
pub(super) struct Api {
    pub(super) clock: Clock,
    pub(super) key: SecretString,
    pub(super) projects: Projects,
    pub(super) faults: Faults,
    pub(super) call_log: CallLog,
}

impl Api {
    /// The routes, below `base_path`.
    pub(super) fn router(self, base_path: &str) -> Router {
        let path = format!("{base_path}/v1/{{projects}}/{{id}}");
        Router::new().route(&path, get(handle).delete(handle)).with_state(self)
    }

    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        value.and_then(|value| value.strip_prefix("Bearer ")) == Some(self.key.expose_secret())
    }

    /// The correct answer at `now`, from the state at `as_of`.
    fn answer(&self, method: &Method, projects: &str, id: &str, now: DateTime<Utc>, as_of: DateTime<Utc>) -> Response {
        let Some(kind) = projects.strip_suffix("-projects").and_then(|kind| kind.parse::<Kind>().ok()) else {
            return error(StatusCode::NOT_FOUND, None);
        };
        if *method == Method::DELETE {
            return match self.projects.delete(kind, id, now) {
                Deletion::Done => StatusCode::NO_CONTENT.into_response(),
                Deletion::Unknown => error(StatusCode::NOT_FOUND, None),
                Deletion::Template => error(StatusCode::UNPROCESSABLE_ENTITY, None),
            };
        }
        match self.projects.details(kind, id, as_of) {
            Some(project) => Json(project.payload()).into_response(),
            None => error(StatusCode::NOT_FOUND, None),
        }
    }
}

async fn handle(
    State(api): State<Api>,
    Path((projects, id)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let now = api.clock.now();
    let fault = if api.is_authorized(&headers) { api.faults.take(&method, &id) } else { Some(Fault::status(401)) };
    let mut call = ApiCall { at: now, method: method.clone(), id: id.clone(), status: None };
    let (answer, delay) = match fault {
        Some(Fault::CloseConnection) => {
            api.call_log.add_call(call);
            return Extension(CloseConnection).into_response();
        }
        Some(Fault::Status { status, retry_after }) => {
            (error(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), retry_after), None)
        }
        Some(Fault::StaleAnswer(age)) => (api.answer(&method, &projects, &id, now, now - age), None),
        Some(Fault::Delay(delay)) => (api.answer(&method, &projects, &id, now, now), Some(delay)),
        None => (api.answer(&method, &projects, &id, now, now), None),
    };
    call.status = Some(answer.status());
    api.call_log.add_call(call);
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    answer
}

/// An error in the documented shape.
fn error(status: StatusCode, retry_after: Option<u32>) -> Response {
    let message = match status {
        StatusCode::PAYMENT_REQUIRED => "Payment required",
        StatusCode::UNPROCESSABLE_ENTITY => {
            "video is a template and cannot be deleted. Please reach out to our support team."
        }
        status => status.canonical_reason().unwrap_or("Refused"),
    };
    let mut answer = (status, Json(json!({"message": message}))).into_response();
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}
