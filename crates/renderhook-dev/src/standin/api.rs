//! The details call and the deletion, with the documented answers.
//!
//! `GET` and `DELETE /v1/{kind}-projects/{id}` with the key as a bearer token: 401 without it, 404 for a project that is
//! unknown, deleted or of another kind, 204 for a deletion and 422 for that of a template's project; every refusal is
//! `{"message": "…"}`. Each call is in the account before it is answered.

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::account::{Account, Call};
use super::connection::HangsUp;
use super::faults::{Fault, Faults};
use super::projects::{Deletion, Projects};
use renderhook::domain::Kind;
use renderhook::runtime::Clock;

/// What the calls need.
#[derive(Debug, Clone)]
pub(super) struct Api {
    pub(super) clock: Clock,
    pub(super) key: SecretString,
    pub(super) projects: Projects,
    pub(super) faults: Faults,
    pub(super) account: Account,
}

impl Api {
    /// The calls, below `base`.
    pub(super) fn router(self, base: &str) -> Router {
        Router::new().route(&format!("{base}/v1/{{projects}}/{{id}}"), get(answer).delete(answer)).with_state(self)
    }

    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let told = headers.get(header::AUTHORIZATION).and_then(|told| told.to_str().ok()?.strip_prefix("Bearer "));
        told == Some(self.key.expose_secret())
    }

    /// The good answer to a call at `now`, which tells what was true at `at`.
    fn answer(&self, method: &Method, projects: &str, id: &str, now: DateTime<Utc>, at: DateTime<Utc>) -> Response {
        let Some(kind) = projects.strip_suffix("-projects").and_then(|kind| kind.parse::<Kind>().ok()) else {
            return refusal(StatusCode::NOT_FOUND, None);
        };
        if *method != Method::DELETE {
            let project = self.projects.details(kind, id, at);
            return project.map_or_else(
                || refusal(StatusCode::NOT_FOUND, None),
                |project| Json(project.payload()).into_response(),
            );
        }
        match self.projects.delete(kind, id, now) {
            Deletion::Done => StatusCode::NO_CONTENT.into_response(),
            Deletion::Unknown => refusal(StatusCode::NOT_FOUND, None),
            Deletion::Template => refusal(StatusCode::UNPROCESSABLE_ENTITY, None),
        }
    }
}

async fn answer(
    State(api): State<Api>,
    Path((projects, id)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let now = api.clock.now();
    let met = if api.is_authorized(&headers) { api.faults.meet() } else { Some(Fault::refuses(401)) };
    let mut call = Call { at: now, method: method.clone(), id: id.clone(), status: None };
    let (answer, late) = match met {
        Some(Fault::HangsUp) => {
            api.account.called(call);
            return axum::Extension(HangsUp).into_response();
        }
        Some(Fault::Refuses { status, retry_after }) => {
            // A number that is no status is trouble of the server's.
            (refusal(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), retry_after), None)
        }
        Some(Fault::Lags(by)) => (api.answer(&method, &projects, &id, now, now - by), None),
        Some(Fault::Dawdles(late)) => (api.answer(&method, &projects, &id, now, now), Some(late)),
        None => (api.answer(&method, &projects, &id, now, now), None),
    };
    call.status = Some(answer.status());
    api.account.called(call);
    if let Some(late) = late {
        tokio::time::sleep(late).await;
    }
    answer
}

/// A refusal in the documented shape.
fn refusal(status: StatusCode, retry_after: Option<u32>) -> Response {
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
