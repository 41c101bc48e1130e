//! The API, with the documented answers.
//!
//! Each kind's details and deletion, a create call for each [`Mode`], uploads, and face detection. All need the API key as a
//! bearer token (401). A body that is not what Magic Hour describes gets 400, one that cannot be rendered 422. A project
//! that is unknown, deleted or of another kind gets 404, as do paths that do not exist; a template's project cannot be
//! deleted (422). A call is logged before it is answered.
//!
//! URLs in answers begin with the host of the request, so that they work wherever the caller is.

mod creation;
mod description;
mod error;
mod face_detection;
mod faults;
mod modes;
mod name_directives;
mod uploads;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use renderhook::domain::Kind;
use renderhook::runtime::Clock;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

pub(in crate::standin) use self::creation::plan_render;
pub use self::description::{ApiDescription, ApiOperation, Schema};
pub(in crate::standin) use self::error::ApiError;
pub(in crate::standin) use self::face_detection::FaceDetections;
pub use self::faults::{Fault, Faults};
pub use self::modes::Mode;
pub(in crate::standin) use self::name_directives::DEFAULT_ERROR;
pub(in crate::standin) use self::uploads::Uploads;
use super::call_log::{ApiCall, CallLog};
use super::http_connection::CloseConnection;
use super::renders::{Deletion, Projects};

/// What a call is about.
enum Target<'a> {
    Create(&'static Mode),
    Details(Kind, &'a str),
    Delete(Kind, &'a str),
    UploadUrls,
    DetectFaces,
    DetectedFaces(&'a str),
}

impl<'a> Target<'a> {
    /// `None` for a call that Magic Hour does not have.
    fn of(method: &Method, path: &'a str) -> Option<Self> {
        let kind = |projects: &str| projects.strip_suffix("-projects").and_then(|kind| kind.parse().ok());
        let segments: Vec<_> = path.split('/').collect();
        match (method, &*segments) {
            (&Method::POST, ["files", "upload-urls"]) => Some(Self::UploadUrls),
            (&Method::POST, ["face-detection"]) => Some(Self::DetectFaces),
            (&Method::GET, ["face-detection", id]) => Some(Self::DetectedFaces(id)),
            (&Method::POST, [mode]) => Mode::at(mode).map(Self::Create),
            (&Method::GET, [projects, id]) => Some(Self::Details(kind(projects)?, id)),
            (&Method::DELETE, [projects, id]) => Some(Self::Delete(kind(projects)?, id)),
            _ => None,
        }
    }
}

/// A call, as it came.
struct CallRequest {
    at: DateTime<Utc>,
    method: Method,
    /// Below `/v1/`.
    path: String,
    body: Result<Bytes, BytesRejection>,
    /// What URLs in the answer begin with.
    origin: String,
}

impl CallRequest {
    /// The body, if it is what Magic Hour describes.
    fn json(&self) -> Result<Value, ApiError> {
        let bytes = self.body.as_ref().map_err(|rejection| ApiError::new(rejection.status()))?;
        if bytes.is_empty() {
            return Err(ApiError::invalid("Missing request body"));
        }
        let body: Value = serde_json::from_slice(bytes)
            .map_err(|error| ApiError::invalid(format!("The request body is not JSON: {error}")))?;
        let call = ApiDescription::magic_hour().operation(&self.method, &format!("/v1/{}", self.path));
        let violations = match call.and_then(|call| call.request.as_ref()) {
            Some(schema) => schema.violations(&body),
            None if body.is_object() => Vec::new(),
            None => vec!["the body is not an object".to_owned()],
        };
        if violations.is_empty() { Ok(body) } else { Err(ApiError::invalid(violations.join("; "))) }
    }
}

/// A successful answer.
struct Answered {
    /// `None` for 204.
    body: Option<Value>,
    /// The id of what was created.
    created: Option<String>,
}

impl Answered {
    const fn with(body: Value) -> Self {
        Self { body: Some(body), created: None }
    }

    fn created(body: Value) -> Self {
        let created = body["id"].as_str().map(str::to_owned);
        Self { body: Some(body), created }
    }
}

/// What the handlers share.
#[derive(Debug, Clone)]
pub(in crate::standin) struct Api {
    pub(in crate::standin) clock: Clock,
    pub(in crate::standin) key: SecretString,
    pub(in crate::standin) projects: Projects,
    pub(in crate::standin) uploads: Uploads,
    pub(in crate::standin) faces: FaceDetections,
    pub(in crate::standin) faults: Faults,
    pub(in crate::standin) call_log: CallLog,
    pub(in crate::standin) render_time: TimeDelta,
    /// What URLs begin with if a request does not name its host.
    pub(in crate::standin) origin: String,
}

impl Api {
    /// The routes, below `base_path`.
    pub(in crate::standin) fn router(self, base_path: &str) -> Router {
        Router::new().route(&format!("{base_path}/v1/{{*path}}"), any(handle)).with_state(self)
    }

    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        value.and_then(|value| value.strip_prefix("Bearer ")) == Some(self.key.expose_secret())
    }

    /// The correct answer, from the state at `as_of`.
    fn answer(&self, call: &CallRequest, as_of: DateTime<Utc>) -> Result<Answered, ApiError> {
        let projects = self.projects.reached_at(call.origin.clone());
        match Target::of(&call.method, &call.path).ok_or_else(ApiError::not_found)? {
            Target::Create(mode) => self.create(mode, call),
            Target::Details(kind, id) => {
                let project = projects.details(kind, id, as_of).ok_or_else(ApiError::not_found)?;
                Ok(Answered::with(project.payload()))
            }
            Target::Delete(kind, id) => match projects.delete(kind, id, call.at) {
                Deletion::Done => Ok(Answered { body: None, created: None }),
                Deletion::Unknown => Err(ApiError::not_found()),
                Deletion::Template => Err(ApiError::unprocessable(
                    "video is a template and cannot be deleted. Please reach out to our support team.",
                )),
            },
            Target::UploadUrls => self.uploads.announce(&call.json()?, &call.origin).map(Answered::with),
            Target::DetectFaces => {
                self.check_assets(&call.json()?)?;
                Ok(Answered::created(self.faces.start(call.at)))
            }
            Target::DetectedFaces(id) => {
                let details = self.faces.details(id, as_of, projects.files());
                details.map(Answered::with).ok_or_else(ApiError::not_found)
            }
        }
    }

    fn create(&self, mode: &'static Mode, call: &CallRequest) -> Result<Answered, ApiError> {
        let body = call.json()?;
        if let Some(problem) = creation::problem(&body) {
            return Err(ApiError::unprocessable(problem));
        }
        self.check_assets(&body)?;
        let plan = creation::plan_render(mode, &body, call.at, self.render_time);
        let mut answer = json!({"id": plan.id, "credits_charged": plan.estimated_credits});
        // Deprecated, and SDKs still require it.
        match mode.kind {
            Kind::Video => answer["estimated_frame_cost"] = plan.estimated_credits.into(),
            Kind::Image => answer["frame_cost"] = plan.estimated_credits.into(),
            Kind::Audio => {}
        }
        self.projects.start(plan, call.at).map_err(|error| ApiError::unprocessable(error.to_string()))?;
        Ok(Answered::created(answer))
    }

    fn check_assets(&self, body: &Value) -> Result<(), ApiError> {
        match creation::asset_paths(body).into_iter().find(|path| self.uploads.is_missing(path)) {
            Some(path) => Err(ApiError::unprocessable(format!("{path} was not uploaded: PUT it to its `upload_url`"))),
            None => Ok(()),
        }
    }
}

async fn handle(
    State(api): State<Api>,
    Path(path): Path<String>,
    method: Method,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let now = api.clock.now();
    let id = path.rsplit('/').next().unwrap_or_default().to_owned();
    let fault = if api.is_authorized(&headers) { api.faults.take(&method, &id) } else { Some(Fault::status(401)) };
    let mut logged =
        ApiCall { at: now, method: method.clone(), path: format!("/v1/{path}"), id, created: None, status: None };
    let call = CallRequest { at: now, method, path, body, origin: origin(&headers, &api.origin) };
    let (answer, delay) = match fault {
        Some(Fault::CloseConnection) => {
            api.call_log.add_call(logged);
            return Extension(CloseConnection).into_response();
        }
        Some(Fault::Status { status, retry_after }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (Err(ApiError::new(status).with_retry_after(retry_after)), None)
        }
        Some(Fault::StaleAnswer(age)) => (api.answer(&call, now - age), None),
        Some(Fault::Delay(delay)) => (api.answer(&call, now), Some(delay)),
        None => (api.answer(&call, now), None),
    };
    logged.created = answer.as_ref().ok().and_then(|answer| answer.created.clone());
    let answer = match answer {
        Ok(Answered { body: Some(body), .. }) => Json(body).into_response(),
        Ok(Answered { body: None, .. }) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => error.into_response(),
    };
    logged.status = Some(answer.status());
    api.call_log.add_call(logged);
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    answer
}

/// The origin by which the caller reached this server.
pub(in crate::standin) fn origin(headers: &HeaderMap, otherwise: &str) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.map_or_else(|| otherwise.to_owned(), |host| format!("http://{host}"))
}
