//! `PUT /renders/{id}`: an application says which render it has started, and what it calls it.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Renders, one_of, unknown_render};
use crate::api::queries::announce::{self, Announcement, Naming, Tracked};
use crate::api::queries::{self, Render};
use crate::domain::{ExternalId, Kind, RenderId};
use crate::http::{Guarded, HttpError, Message};
use crate::runtime::REQUEST;

/// The largest metadata, in bytes of JSON without blanks.
const LARGEST_METADATA: usize = 16 << 10;
/// The largest body: room for metadata that is written with blanks and escapes.
const LARGEST: usize = 64 << 10;

/// Announces a render, or names one that is known
///
/// It is known from now on, though no event about it has come yet.
#[utoipa::path(
    put,
    path = "/renders/{id}",
    operation_id = "announce_render",
    tag = "renders",
    params(("id" = String, Path, min_length = 1, max_length = 255, description = "Magic Hour's id of the render.")),
    request_body(content = Sent, description = "Read as JSON, whatever its `Content-Type`."),
    responses(
        (status = 200, description = "It was known, and is now named so.", body = Render),
        (status = 201, description = "It is new.", body = Render),
        (status = 400, description = "The body cannot be read or kept.", body = Message),
        (status = 408, description = "The body did not arrive in time.", body = Message),
        (status = 409, description = "Magic Hour told of it, and of another kind.", body = Message),
        (status = 413, description = "The body is larger than 64 KiB.", body = Message),
        Guarded,
    ),
)]
pub(crate) async fn put(
    State(renders): State<Arc<Renders>>,
    id: Result<Path<String>, PathRejection>,
    body: Body,
) -> Result<(StatusCode, Json<Render>), HttpError> {
    let id = id.ok().and_then(|Path(id)| id.parse::<RenderId>().ok());
    let id = id.ok_or_else(|| HttpError::bad_request("a render's id is 1 to 255 bytes of text without U+0000"))?;
    let announcement = read(&renders.bodies.read(body, LARGEST, too_large).await?)?;
    let (database, pool) = (&renders.database, renders.database.pool());
    let tracked = announce::track(pool, &id, &announcement, renders.clock.now());
    let status = match database.within(REQUEST, tracked).await? {
        Tracked::New => StatusCode::CREATED,
        Tracked::Known => StatusCode::OK,
        Tracked::OtherKind => return Err(other_kind(announcement.kind)),
    };
    let render = database.within(REQUEST, queries::render(pool, &renders.store, &id)).await?;
    Ok((status, Json(render.ok_or_else(unknown_render)?)))
}

fn other_kind(kind: Kind) -> HttpError {
    let message = format!("Magic Hour told of this render, and not of a {kind}: `GET` this address for its kind");
    HttpError::new(StatusCode::CONFLICT, message)
}

fn too_large() -> HttpError {
    let message = format!("the body is larger than {LARGEST} bytes: send less `metadata`");
    HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// What an application says of a render.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Announcement)]
struct Sent {
    #[schema(value_type = Kind)]
    kind: String,
    /// The application's own name for the render. Left out, it stays; `null` takes it away.
    #[serde(default, deserialize_with = "naming")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    external_id: Naming,
    /// What is to come back in every answer about the render: 16 KiB at most. Left out, it stays.
    #[serde(default, deserialize_with = "map")]
    #[schema(value_type = Object, required = false)]
    metadata: Option<Map<String, Value>>,
}

fn naming<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Naming, D::Error> {
    let Some(name) = Option::<String>::deserialize(deserializer)? else { return Ok(Naming::Remove) };
    let name: Result<ExternalId, _> = name.parse();
    name.map(Naming::Set).map_err(|why| D::Error::custom(format!("`external_id` {why}, or null")))
}

/// An object. Serde alone would take `null` for a field that is left out.
fn map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Map<String, Value>>, D::Error> {
    Map::deserialize(deserializer).map(Some)
}

fn read(body: &[u8]) -> Result<Announcement, HttpError> {
    let sent: Sent = serde_json::from_slice(body).map_err(|error| {
        HttpError::bad_request(format!(
            r#"send JSON such as {{"kind": "video", "external_id": "order-17", "metadata": {{}}}}: {error}"#
        ))
    })?;
    let kind = sent.kind.parse();
    let kind =
        kind.map_err(|_| HttpError::bad_request(format!("`kind` must be {}", one_of(&Kind::ALL.map(Kind::as_str)))))?;
    Ok(Announcement { kind, external_id: sent.external_id, metadata: sent.metadata.map(metadata).transpose()? })
}

/// Metadata that can be kept.
fn metadata(map: Map<String, Value>) -> Result<Map<String, Value>, HttpError> {
    if holds_nul(&map) {
        return Err(HttpError::bad_request("`metadata` must not hold U+0000 in a text: it cannot be kept"));
    }
    let length = serde_json::to_vec(&map).map_or(usize::MAX, |text| text.len());
    if length > LARGEST_METADATA {
        let message = format!("`metadata` must be {LARGEST_METADATA} bytes of JSON at most, and is {length}");
        return Err(HttpError::bad_request(message));
    }
    Ok(map)
}

fn holds_nul(map: &Map<String, Value>) -> bool {
    fn value(any: &Value) -> bool {
        match any {
            Value::String(text) => text.contains('\0'),
            Value::Array(list) => list.iter().any(value),
            Value::Object(map) => holds_nul(map),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    map.iter().any(|(name, any)| name.contains('\0') || value(any))
}
