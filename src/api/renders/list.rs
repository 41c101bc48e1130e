//! `GET /renders`: the list, and the search in it.

use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Renders, one_of};
use crate::api::queries::{self, Filter, Render};
use crate::domain::ArchiveState;
use crate::domain::{Kind, Status};
use crate::http::{Guarded, HttpError, Message};
use crate::runtime::REQUEST;

/// How many renders come where nothing else is asked for.
const USUAL: u16 = 50;
/// How many come at the most.
const MOST: u16 = 200;

/// The parameters of the question.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Parameters {
    /// Those with this status.
    #[param(value_type = Option<Status>)]
    status: Option<String>,
    /// Those of this kind.
    #[param(value_type = Option<Kind>)]
    kind: Option<String>,
    /// Those whose downloads sum up to this.
    #[param(value_type = Option<ArchiveState>)]
    archive: Option<String>,
    /// Those that the application has named so.
    #[param(min_length = 1, max_length = 255)]
    external_id: Option<String>,
    /// How many at the most: 50 unless said otherwise.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// Those that follow the page which gave this as its `next_cursor`.
    cursor: Option<String>,
}

/// A page of renders.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List {
    /// Each as it is answered alone.
    renders: Vec<Render>,
    /// What to ask with for those that follow; `null` if there are none.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// The renders, the newest first
///
/// Those that fit every parameter, a page at a time.
#[utoipa::path(
    get,
    path = "/renders",
    operation_id = "list_renders",
    tag = "renders",
    params(Parameters),
    responses(
        (status = 200, description = "A page of them.", body = List),
        (status = 400, description = "A parameter is wrong, unknown or repeated.", body = Message),
        Guarded,
    ),
)]
pub(crate) async fn get(
    State(renders): State<Arc<Renders>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<List>, HttpError> {
    let Query(parameters) = parameters.map_err(|error| HttpError::bad_request(error.body_text()))?;
    let (filter, limit) = (parameters.filter()?, parameters.limit()?);
    let page = queries::list(renders.database.pool(), &renders.store, &filter, limit);
    let page = renders.database.within(REQUEST, page).await?;
    Ok(Json(List { renders: page.renders, next_cursor: page.next.map(|cursor| cursor.to_string()) }))
}

impl Parameters {
    fn filter(&self) -> Result<Filter, HttpError> {
        Ok(Filter {
            status: read("status", self.status.as_ref(), || one_of(&Status::ALL.map(Status::as_str)))?,
            kind: read("kind", self.kind.as_ref(), || one_of(&Kind::ALL.map(Kind::as_str)))?,
            archive: read("archive", self.archive.as_ref(), || one_of(&ArchiveState::ALL.map(ArchiveState::as_str)))?,
            external_id: read("external_id", self.external_id.as_ref(), || "1 to 255 bytes without U+0000".to_owned())?,
            after: read("cursor", self.cursor.as_ref(), || "the `next_cursor` of an earlier answer".to_owned())?,
        })
    }

    fn limit(&self) -> Result<u16, HttpError> {
        let limits = || format!("a whole number from 1 to {MOST}");
        let limit = read("limit", self.limit.as_ref(), limits)?.unwrap_or(USUAL);
        if (1..=MOST).contains(&limit) { Ok(limit) } else { Err(must_be("limit", &limits())) }
    }
}

fn read<T: FromStr>(
    name: &str,
    text: Option<&String>,
    expected: impl FnOnce() -> String,
) -> Result<Option<T>, HttpError> {
    text.map(|text| text.parse().map_err(|_| must_be(name, &expected()))).transpose()
}

fn must_be(name: &str, expected: &str) -> HttpError {
    HttpError::bad_request(format!("`{name}` must be {expected}"))
}
