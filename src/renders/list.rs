//! `GET /renders`: the list, and the search in it.

use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use super::{Renders, one_of};
use crate::answer::Refusal;
use crate::database::REQUEST;
use crate::query::{self, Archive, Filter, Render};
use crate::render::{Kind, Status};

/// How many renders come where nothing else is asked for.
const USUAL: u16 = 50;
/// How many come at the most.
const MOST: u16 = 200;

/// The parameters of the question.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    status: Option<String>,
    kind: Option<String>,
    archive: Option<String>,
    external_id: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct List {
    /// Each as it is answered alone.
    renders: Vec<Render>,
    /// What to ask with for those that follow; `null` if there are none.
    next_cursor: Option<String>,
}

/// The handler.
pub async fn get(
    State(renders): State<Arc<Renders>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<List>, Refusal> {
    let Query(parameters) = parameters.map_err(|error| Refusal::bad_request(error.body_text()))?;
    let (filter, limit) = (parameters.filter()?, parameters.limit()?);
    let page = query::list(renders.database.pool(), &renders.store, &filter, limit);
    let page = renders.database.within(REQUEST, page).await?;
    Ok(Json(List { renders: page.renders, next_cursor: page.next.map(|cursor| cursor.to_string()) }))
}

impl Parameters {
    fn filter(&self) -> Result<Filter, Refusal> {
        Ok(Filter {
            status: read("status", self.status.as_ref(), || one_of(&Status::ALL.map(Status::as_str)))?,
            kind: read("kind", self.kind.as_ref(), || one_of(&Kind::ALL.map(Kind::as_str)))?,
            archive: read("archive", self.archive.as_ref(), || one_of(&Archive::ALL.map(Archive::as_str)))?,
            external_id: read("external_id", self.external_id.as_ref(), || "1 to 255 bytes without U+0000".to_owned())?,
            after: read("cursor", self.cursor.as_ref(), || "the `next_cursor` of an earlier answer".to_owned())?,
        })
    }

    fn limit(&self) -> Result<u16, Refusal> {
        let limits = || format!("a whole number from 1 to {MOST}");
        let limit = read("limit", self.limit.as_ref(), limits)?.unwrap_or(USUAL);
        if (1..=MOST).contains(&limit) { Ok(limit) } else { Err(must_be("limit", &limits())) }
    }
}

fn read<T: FromStr>(
    name: &str,
    text: Option<&String>,
    expected: impl FnOnce() -> String,
) -> Result<Option<T>, Refusal> {
    text.map(|text| text.parse().map_err(|_| must_be(name, &expected()))).transpose()
}

fn must_be(name: &str, expected: &str) -> Refusal {
    Refusal::bad_request(format!("`{name}` must be {expected}"))
}
