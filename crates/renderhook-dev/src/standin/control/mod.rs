//! What a developer sees and does: a page at `/`, and calls below `/standin/` that need no key.
//!
//! The calls are what the page's buttons post, and answer with a redirect to the page, or with `{"message": "…"}`:
//!
//! | call | does |
//! |---|---|
//! | `POST /standin/renders` | starts a video, an image and an audio render |
//! | `POST /standin/renders/{id}/complete`, `…/cancel`, `…/fail` (`code=`) | ends a render now |
//! | `POST /standin/faults` (`status=503` or `close`, `retry_after=`, `count=1`) | the next calls of the API fail |
//! | `POST /standin/faults/clear` | removes all faults |
//! | `GET /standin/log` | renders, calls and webhooks as JSON |

mod page;

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{Html, Redirect};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use url::form_urlencoded;

use self::page::Page;
use super::StandIn;
use super::api::{ApiError, DEFAULT_ERROR, Fault, origin};
use super::call_log::{ApiCall, WebhookAttempt, WebhookOutcome};
use super::renders::{Project, Stage};

/// As many calls as may fail by one request.
const MAX_FAULTS: usize = 1000;

pub(super) fn router(standin: StandIn) -> Router {
    Router::new()
        .route("/", get(show_page))
        .route("/standin/log", get(show_log))
        .route("/standin/renders", post(start_renders))
        .route("/standin/renders/{id}/{action}", post(end_render))
        .route("/standin/faults", post(inject_faults))
        .route("/standin/faults/clear", post(clear_faults))
        .with_state(standin)
}

async fn show_page(
    State(standin): State<StandIn>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Html<String> {
    let projects = standin.projects.reached_at(origin(&headers, &standin.origin));
    let page = Page {
        projects: projects.all(standin.clock.now()),
        calls: standin.call_log.calls(),
        webhooks: standin.call_log.webhooks(),
        receiver: standin.webhooks.receiver(),
        reloads: query.contains_key("reload"),
    };
    Html(page.to_html())
}

async fn show_log(State(standin): State<StandIn>, headers: HeaderMap) -> Json<Value> {
    let projects = standin.projects.reached_at(origin(&headers, &standin.origin)).all(standin.clock.now());
    let renders: Vec<_> = projects.iter().map(Project::payload).collect();
    let calls: Vec<_> = standin.call_log.calls().iter().map(call_entry).collect();
    let webhooks: Vec<_> = standin.call_log.webhooks().iter().map(webhook_entry).collect();
    Json(json!({"renders": renders, "calls": calls, "webhooks": webhooks}))
}

fn call_entry(ApiCall { at, method, path, id: _, created, status }: &ApiCall) -> Value {
    let status = status.map(|status| status.as_u16());
    json!({"at": at, "method": method.as_str(), "path": path, "status": status, "created": created})
}

fn webhook_entry(WebhookAttempt { at, event_type, id, attempt, outcome }: &WebhookAttempt) -> Value {
    let (sent, status, answer) = match outcome {
        WebhookOutcome::Lost => (false, None, None),
        WebhookOutcome::Unanswered(_) => (true, None, None),
        WebhookOutcome::Answered(_, answer) => (true, Some(answer.status.as_u16()), Some(&answer.body)),
    };
    let event_type = event_type.as_str();
    json!({
        "at": at, "type": event_type, "id": id, "attempt": attempt, "sent": sent, "status": status, "answer": answer,
    })
}

async fn start_renders(State(standin): State<StandIn>) -> Result<Redirect, ApiError> {
    standin.start_samples().map_err(|error| ApiError::unprocessable(error.to_string()))?;
    Ok(Redirect::to("/"))
}

async fn end_render(
    State(standin): State<StandIn>,
    Path((id, action)): Path<(String, String)>,
    body: Bytes,
) -> Result<Redirect, ApiError> {
    let stage = match action.as_str() {
        "complete" => Stage::Complete,
        "cancel" => Stage::Canceled,
        "fail" => Stage::error(form(&body).get("code").map_or(DEFAULT_ERROR, String::as_str)),
        _ => return Err(ApiError::not_found()),
    };
    let Some(current) = standin.projects.stage(&id, standin.clock.now()) else {
        return Err(ApiError::not_found());
    };
    if current.status().is_finished() || !standin.move_render(&id, stage) {
        return Err(ApiError::conflict(format!("the render has ended already: it is {}", current.status())));
    }
    Ok(Redirect::to("/"))
}

async fn inject_faults(State(standin): State<StandIn>, body: Bytes) -> Result<Redirect, ApiError> {
    let form = form(&body);
    let number = |field: &str| form.get(field).filter(|value| !value.is_empty()).map(|value| value.parse::<u32>());
    let retry_after = number("retry_after").transpose();
    let retry_after = retry_after.map_err(|_| ApiError::invalid("`retry_after` is a number of seconds"))?;
    let fault = match form.get("status").map(String::as_str) {
        Some("close") => Some(Fault::CloseConnection),
        Some(status) => status
            .parse()
            .ok()
            .filter(|status| (400..600).contains(status))
            .map(|status| Fault::Status { status, retry_after }),
        None => None,
    };
    let fault = fault.ok_or_else(|| ApiError::invalid("`status` is an error status, such as 503, or `close`"))?;
    let count = form.get("count").map_or(Ok(1), |count| count.parse()).ok();
    let count = count.filter(|count| (1..=MAX_FAULTS).contains(count));
    let count = count.ok_or_else(|| ApiError::invalid(format!("`count` is a number from 1 to {MAX_FAULTS}")))?;
    standin.faults.inject_next(std::iter::repeat_n(fault, count));
    Ok(Redirect::to("/"))
}

async fn clear_faults(State(standin): State<StandIn>) -> Redirect {
    standin.faults.clear();
    Redirect::to("/")
}

fn form(body: &[u8]) -> HashMap<String, String> {
    form_urlencoded::parse(body).into_owned().collect()
}
