//! `GET /renders`: lists renders, with filters.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ApiState;
use crate::api::parameters::{self, PageSize, QueryParameters, one_of, read};
use crate::domain::ArchiveState;
use crate::domain::{Kind, Status};
use crate::http::{CommonErrors, HttpError, Message};
use crate::runtime::REQUEST_TIMEOUT;
use crate::views::{self, ListFilter, RenderView};

/// The query parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParameters {
    /// Renders with this status.
    #[param(value_type = Option<Status>)]
    status: Option<String>,
    /// Renders of this kind.
    #[param(value_type = Option<Kind>)]
    kind: Option<String>,
    /// Renders with this archive state.
    #[param(value_type = Option<ArchiveState>)]
    archive: Option<String>,
    /// Renders with this external id.
    #[param(min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$", example = "order-17")]
    external_id: Option<String>,
    /// Renders of this project type of Magic Hour.
    #[param(min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$", example = "FACE_SWAP")]
    r#type: Option<String>,
    /// Renders that failed with this code.
    #[param(min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$", example = "no_source_face")]
    error: Option<String>,
    /// Renders first seen at this time or later.
    #[param(value_type = Option<DateTime<Utc>>, example = "2026-11-29T12:00:00Z")]
    since: Option<String>,
    /// Renders first seen before this time.
    #[param(value_type = Option<DateTime<Utc>>, example = "2026-11-30T12:00:00Z")]
    until: Option<String>,
    /// The page size.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// The `next_cursor` of the previous page.
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
}

/// A page of renders.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RenderList {
    /// The renders, in the same format as `GET /renders/{id}`.
    renders: Vec<RenderView>,
    /// The `cursor` of the next page; `null` on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// List renders, newest first
///
/// Returns the renders that match all parameters, in pages.
#[utoipa::path(
    get,
    path = "/renders",
    operation_id = "list_renders",
    tag = "renders",
    params(ListParameters),
    responses(
        (status = 200, description = "A page of renders.", body = RenderList),
        (status = 400, description = "A parameter is invalid, unknown or repeated.", body = Message),
        CommonErrors,
    ),
)]
pub(crate) async fn get(
    State(state): State<Arc<ApiState>>,
    QueryParameters(parameters): QueryParameters<ListParameters>,
) -> Result<Json<RenderList>, HttpError> {
    let (filter, limit) = (parameters.filter()?, PageSize::LIST.limit(parameters.limit.as_ref())?);
    let page = views::list(state.database.pool(), &state.store, &filter, limit);
    let page = state.database.with_timeout(REQUEST_TIMEOUT, page).await?;
    Ok(Json(RenderList { renders: page.renders, next_cursor: page.next.map(|cursor| cursor.to_string()) }))
}

impl ListParameters {
    fn filter(&self) -> Result<ListFilter, HttpError> {
        Ok(ListFilter {
            status: read("status", self.status.as_ref(), || one_of(&Status::ALL.map(Status::as_str)))?,
            kind: read("kind", self.kind.as_ref(), || one_of(&Kind::ALL.map(Kind::as_str)))?,
            archive: read("archive", self.archive.as_ref(), || one_of(&ArchiveState::ALL.map(ArchiveState::as_str)))?,
            external_id: read("external_id", self.external_id.as_ref(), || {
                "1 to 255 characters without U+0000".to_owned()
            })?,
            project_type: parameters::text("type", self.r#type.as_ref())?,
            error_code: parameters::text("error", self.error.as_ref())?,
            since: parameters::time("since", self.since.as_ref())?,
            until: parameters::time("until", self.until.as_ref())?,
            after: read("cursor", self.cursor.as_ref(), || "the `next_cursor` of an earlier answer".to_owned())?,
        })
    }
}
