//! `PUT /renders/{id}`: an application announces a render that it has started, and names it.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Renders, one_of, unknown_render};
use crate::api::queries::announce::{self, Announced, Announcement, Naming};
use crate::api::queries::{self, RenderView};
use crate::domain::{ExternalId, Kind, RenderId};
use crate::http::{CommonErrors, HttpError, Message};
use crate::runtime::REQUEST_TIMEOUT;

/// The largest metadata, in bytes of JSON as it was sent.
const LARGEST_METADATA: usize = 16 << 10;
/// The largest body.
const LARGEST: usize = 64 << 10;

/// Announce a render, or name a known one
///
/// The render is known from now on, although no event about it has come yet.
#[utoipa::path(
    put,
    path = "/renders/{id}",
    operation_id = "announce_render",
    tag = "renders",
    params(("id" = String, Path, min_length = 1, max_length = 255, description = "Magic Hour's id of the render.", example = "clx123")),
    request_body(
        content = AnnouncementBody,
        description = "Read as JSON, whatever its `Content-Type`.",
        example = json!({"kind": "video", "external_id": "order-17", "metadata": {"user": 7}}),
    ),
    responses(
        (status = 200, description = "The render was known.", body = RenderView),
        (status = 201, description = "The render is new.", body = RenderView),
        (status = 400, description = "The body is invalid.", body = Message),
        (status = 408, description = "The body did not arrive in time.", body = Message),
        (status = 409, description = "Magic Hour reported the render with another kind.", body = Message),
        (status = 413, description = "The body is larger than 64 KiB.", body = Message),
        CommonErrors,
    ),
)]
pub(crate) async fn put(
    State(renders): State<Arc<Renders>>,
    id: Result<Path<String>, PathRejection>,
    body: Body,
) -> Result<(StatusCode, Json<RenderView>), HttpError> {
    let id = id.ok().and_then(|Path(id)| id.parse::<RenderId>().ok());
    let id = id.ok_or_else(|| HttpError::bad_request("a render's id is 1 to 255 bytes of text without U+0000"))?;
    let announcement = read(&renders.bodies.read(body, LARGEST, too_large).await?)?;
    let (database, pool) = (&renders.database, renders.database.pool());
    let announced = announce::announce(pool, &id, &announcement, renders.clock.now());
    let status = match database.with_timeout(REQUEST_TIMEOUT, announced).await? {
        Announced::New => StatusCode::CREATED,
        Announced::Known => StatusCode::OK,
        Announced::OtherKind => return Err(other_kind(announcement.kind)),
    };
    let render = database.with_timeout(REQUEST_TIMEOUT, queries::render(pool, &renders.store, &id)).await?;
    Ok((status, Json(render.ok_or_else(unknown_render)?)))
}

fn other_kind(kind: Kind) -> HttpError {
    let message =
        format!("Magic Hour reported this render with another kind than {kind}: `GET` this address to see it");
    HttpError::new(StatusCode::CONFLICT, message)
}

fn too_large() -> HttpError {
    let message = format!("the body is larger than {LARGEST} bytes: send less `metadata`");
    HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// What an application says about a render.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Announcement)]
struct AnnouncementBody {
    #[schema(value_type = Kind)]
    kind: String,
    /// The application's own name for the render. If left out, it stays; `null` removes it.
    #[serde(default, deserialize_with = "naming")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    external_id: Naming,
    /// Returned in every answer about the render, exactly as written: at most 16 KiB. If left out, it stays.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = std::collections::HashMap<String, serde_json::Value>, required = false)]
    metadata: Option<Box<RawValue>>,
}

fn naming<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Naming, D::Error> {
    let Some(name) = Option::<String>::deserialize(deserializer)? else { return Ok(Naming::Remove) };
    let name: Result<ExternalId, _> = name.parse();
    name.map(Naming::Set).map_err(|why| D::Error::custom(format!("`external_id` {why}, or null")))
}

/// A value that is there. Serde alone would take `null` for a field that is left out.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

fn read(body: &[u8]) -> Result<Announcement, HttpError> {
    let sent: AnnouncementBody = serde_json::from_slice(body).map_err(|error| {
        HttpError::bad_request(format!(
            r#"send JSON such as {{"kind": "video", "external_id": "order-17", "metadata": {{}}}}: {error}"#
        ))
    })?;
    let kind = sent.kind.parse();
    let kind =
        kind.map_err(|_| HttpError::bad_request(format!("`kind` must be {}", one_of(&Kind::ALL.map(Kind::as_str)))))?;
    Ok(Announcement { kind, external_id: sent.external_id, metadata: sent.metadata.map(metadata).transpose()? })
}

/// Metadata that can be kept: an object, not too large, of text that Postgres can hold.
fn metadata(raw: Box<RawValue>) -> Result<Box<RawValue>, HttpError> {
    let length = raw.get().len();
    if length > LARGEST_METADATA {
        let message = format!("`metadata` must be at most {LARGEST_METADATA} bytes of JSON, and is {length}");
        return Err(HttpError::bad_request(message));
    }
    // Read once to check it; what is kept is the text. This also bounds the depth.
    let value: Value = serde_json::from_str(raw.get())
        .map_err(|error| HttpError::bad_request(format!("`metadata` cannot be read as JSON: {error}")))?;
    if !value.is_object() {
        return Err(HttpError::bad_request("`metadata` must be an object"));
    }
    if holds_nul(&value) {
        return Err(HttpError::bad_request("`metadata` must not hold U+0000: it cannot be stored"));
    }
    Ok(raw)
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(holds_nul),
        Value::Object(map) => map.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(metadata: &str) -> Result<String, String> {
        let read = read(format!(r#"{{"kind": "video", "metadata": {metadata}}}"#).as_bytes());
        let read = read.map_err(|error| error.message().to_owned())?;
        Ok(read.metadata.unwrap().get().to_owned())
    }

    #[test]
    fn metadata_is_kept_byte_for_byte() {
        for text in [
            "{}",
            r#"{ "b": 1, "a":2, "b": 3 }"#,
            r#"{"n": [1.7976931348623157e308, 232.90821219048374, 1.50, 1E2, -0.0]}"#,
            r#"{"n": 123456789012345678901234567890}"#,
            r#"{"s": "\u00e9\ud83d\ude00"}"#,
        ] {
            assert_eq!(kept(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn metadata_that_cannot_be_kept_is_refused_with_the_reason() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
        let large = format!(r#"{{"a": "{}"}}"#, "x".repeat(LARGEST_METADATA));
        for (text, words) in [
            ("[]", "must be an object"),
            ("null", "must be an object"),
            (r#"{"a": "\u0000"}"#, "U+0000"),
            (r#"{"a\u0000": 1}"#, "U+0000"),
            (r#"{"a": 1e999}"#, "out of range"),
            (&deep, "recursion limit"),
            (&large, "at most 16384 bytes"),
        ] {
            let error = kept(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
