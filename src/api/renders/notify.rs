//! `POST /renders/{id}/notify`: sends notifications again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiState, RenderInPath, RenderPath};
use crate::domain::NotificationId;
use crate::feed::PostedTypes;
use crate::http::{CommonErrors, HttpError, Message};
use crate::notify::{ResendFilter, resend};

/// The notifications that are sent again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NotifyResult {
    /// A message for people.
    message: &'static str,
    /// The ids of the notifications that are due now, in their order.
    notifications: Vec<NotificationId>,
}

/// Send the notifications of a render again
///
/// Posts every notification of the render to `NOTIFY_URL` again, in order and with the same ids, whether it was accepted
/// or not.
#[utoipa::path(
    post,
    path = "/renders/{id}/notify",
    operation_id = "notify_render",
    tag = "renders",
    params(RenderPath),
    responses(
        (status = 200, description = "The notifications that are due now. There may be none.", body = NotifyResult),
        (status = 404, description = "The render is unknown.", body = Message),
        (status = 409, description = "`NOTIFY_URL` is not set, so nothing is posted.", body = Message),
        CommonErrors,
    ),
)]
pub(crate) async fn notify(
    State(state): State<Arc<ApiState>>,
    RenderInPath(id): RenderInPath,
) -> Result<Json<NotifyResult>, HttpError> {
    if state.posted == PostedTypes::default() {
        return Err(HttpError::new(StatusCode::CONFLICT, "NOTIFY_URL is not set, so nothing is posted"));
    }
    state.must_know(&id).await?;
    let filter = ResendFilter { render: Some(id), posted: state.posted, ..ResendFilter::default() };
    let mut notifications = Vec::new();
    resend(&state.database, &filter, state.clock.now(), |resent| notifications.push(resent.id)).await?;
    let message = if notifications.is_empty() { "this render has no notification yet" } else { "back in the queue" };
    Ok(Json(NotifyResult { message, notifications }))
}
