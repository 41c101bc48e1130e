//! `PUT /renders/{id}`: announces a render.

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

use super::{ApiState, RenderPath, unknown_render};
use crate::api::parameters::one_of;
use crate::api::queries::{self, AnnounceOutcome, Announcement, ExternalIdUpdate};
use crate::domain::{ExternalId, Kind, RenderId};
use crate::http::{CommonErrors, HttpError, Message};
use crate::runtime::REQUEST_TIMEOUT;
use crate::views::RenderView;

/// The maximum size of the metadata, as written.
const MAX_METADATA_BYTES: usize = 16 << 10;
/// The maximum size of the body.
const MAX_BODY_BYTES: usize = 64 << 10;

/// Announce a render
///
/// Registers a render before any event about it arrives, or updates the external id and metadata of a known one.
#[utoipa::path(
    put,
    path = "/renders/{id}",
    operation_id = "announce_render",
    tag = "renders",
    params(RenderPath),
    request_body(
        content = AnnouncementBody,
        description = "Parsed as JSON, whatever its `Content-Type`.",
        example = json!({"kind": "video", "external_id": "order-17", "metadata": {"user": 7}}),
    ),
    responses(
        (status = 200, description = "The render was already known.", body = RenderView),
        (status = 201, description = "The render is new.", body = RenderView),
        (status = 400, description = "The body is invalid.", body = Message),
        (status = 408, description = "The body did not arrive in time.", body = Message),
        (status = 409, description = "Magic Hour has reported another kind for this render, or the render was erased.", body = Message),
        (status = 413, description = "The body is larger than 64 KiB.", body = Message),
        CommonErrors,
    ),
)]
pub(crate) async fn put(
    State(state): State<Arc<ApiState>>,
    id: Result<Path<RenderPath>, PathRejection>,
    body: Body,
) -> Result<(StatusCode, Json<RenderView>), HttpError> {
    let id = id.ok().and_then(|Path(path)| path.id.parse::<RenderId>().ok());
    let id = id.ok_or_else(|| HttpError::bad_request("a render's id is 1 to 255 characters without U+0000"))?;
    let announcement = read(&state.bodies.read(body, MAX_BODY_BYTES, too_large).await?)?;
    let (database, pool) = (&state.database, state.database.pool());
    let announced = queries::announce(pool, &id, &announcement, state.clock.now());
    let status = match database.with_timeout(REQUEST_TIMEOUT, announced).await? {
        AnnounceOutcome::Created => StatusCode::CREATED,
        AnnounceOutcome::Updated => StatusCode::OK,
        AnnounceOutcome::KindMismatch => return Err(kind_mismatch(announcement.kind)),
        AnnounceOutcome::Erased => return Err(erased()),
    };
    let render = state.reader.read(&id).await?;
    Ok((status, Json(render.ok_or_else(unknown_render)?)))
}

fn kind_mismatch(kind: Kind) -> HttpError {
    let message =
        format!("Magic Hour has reported another kind for this render than {kind}: `GET` this address to see it");
    HttpError::new(StatusCode::CONFLICT, message)
}

fn erased() -> HttpError {
    let message = "this render was erased, so nothing is kept about it: a new render has another id";
    HttpError::new(StatusCode::CONFLICT, message)
}

fn too_large() -> HttpError {
    let message = format!("the body is larger than {MAX_BODY_BYTES} bytes: send less `metadata`");
    HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// What an application announces about a render.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Announcement)]
struct AnnouncementBody {
    #[schema(value_type = Kind)]
    kind: String,
    /// The application's own id for the render. If missing, it stays the same; `null` removes it.
    #[serde(default, deserialize_with = "external_id_update")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$")]
    external_id: ExternalIdUpdate,
    /// A JSON object of at most 16 KiB, returned in every answer about the render exactly as written. If missing, it stays the
    /// same.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = std::collections::HashMap<String, serde_json::Value>, required = false)]
    metadata: Option<Box<RawValue>>,
}

fn external_id_update<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ExternalIdUpdate, D::Error> {
    let Some(id) = Option::<String>::deserialize(deserializer)? else { return Ok(ExternalIdUpdate::Remove) };
    let id: Result<ExternalId, _> = id.parse();
    id.map(ExternalIdUpdate::Set).map_err(|error| D::Error::custom(format!("`external_id` {error}, or null")))
}

/// Deserializes a field that is present. Serde's own `Option` would accept `null` like a missing field.
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

/// Checks that the metadata can be stored: an object, not too large, without U+0000.
fn metadata(raw: Box<RawValue>) -> Result<Box<RawValue>, HttpError> {
    let length = raw.get().len();
    if length > MAX_METADATA_BYTES {
        let message = format!("`metadata` must be at most {MAX_METADATA_BYTES} bytes of JSON, but has {length}");
        return Err(HttpError::bad_request(message));
    }
    // Parsed only to check it; the text itself is stored. This also limits the nesting depth.
    let value: Value = serde_json::from_str(raw.get())
        .map_err(|error| HttpError::bad_request(format!("`metadata` cannot be read as JSON: {error}")))?;
    if !value.is_object() {
        return Err(HttpError::bad_request("`metadata` must be an object"));
    }
    if contains_nul(&value) {
        return Err(HttpError::bad_request("`metadata` must not contain U+0000, because it cannot be stored"));
    }
    Ok(raw)
}

fn contains_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(contains_nul),
        Value::Object(map) => map.iter().any(|(name, value)| name.contains('\0') || contains_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored_metadata(metadata: &str) -> Result<String, String> {
        let read = read(format!(r#"{{"kind": "video", "metadata": {metadata}}}"#).as_bytes());
        let read = read.map_err(|error| error.message().to_owned())?;
        Ok(read.metadata.unwrap().get().to_owned())
    }

    #[test]
    fn metadata_is_stored_byte_for_byte() {
        for text in [
            "{}",
            r#"{ "b": 1, "a":2, "b": 3 }"#,
            r#"{"n": [1.7976931348623157e308, 232.90821219048374, 1.50, 1E2, -0.0]}"#,
            r#"{"n": 123456789012345678901234567890}"#,
            r#"{"s": "\u00e9\ud83d\ude00"}"#,
        ] {
            assert_eq!(stored_metadata(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn invalid_metadata_is_rejected_with_the_reason() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
        let large = format!(r#"{{"a": "{}"}}"#, "x".repeat(MAX_METADATA_BYTES));
        for (text, words) in [
            ("[]", "must be an object"),
            ("null", "must be an object"),
            (r#"{"a": "\u0000"}"#, "U+0000"),
            (r#"{"a\u0000": 1}"#, "U+0000"),
            (r#"{"a": 1e999}"#, "out of range"),
            (&deep, "recursion limit"),
            (&large, "at most 16384 bytes"),
        ] {
            let error = stored_metadata(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
