//! `GET /renders/{id}/downloads/{index}`: the file itself.
//!
//! Where the store can make a presigned URL the answer is a redirect to it, so that no byte passes through here; else
//! the file comes from here, with ranges and validators as RFC 9110 has them.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::error;

use crate::api::queries::{self, File, StoredFile};
use crate::api::renders::{Renders, render_id};
use crate::archive::{Store, StoreError};
use crate::http::{ByteRange, Guarded, HttpError, Message, RequestedRange};
use crate::runtime::LogEvent;
use crate::runtime::REQUEST;

/// A stored file
///
/// A redirect to a presigned URL where the store can make one, else the bytes, with `Range`, `If-Range` and
/// `If-None-Match`. `HEAD` is answered likewise.
#[utoipa::path(
    get,
    path = "/renders/{id}/downloads/{index}",
    operation_id = "get_file",
    tag = "renders",
    params(
        ("id" = String, Path, description = "Magic Hour's id of the render."),
        ("index" = i32, Path, minimum = 0, description = "The download's `index`."),
        ("Range" = Option<String>, Header, nullable = false, description = "The bytes that are wanted."),
    ),
    responses(
        (status = 200, description = "The whole file.", body = String, content_type = "*/*"),
        (status = 206, description = "The bytes that were asked for.", body = String, content_type = "*/*"),
        (status = 304, description = "The caller has the file."),
        (status = 307, description = "`Location` is a presigned URL of the file.",
            headers(("Location" = String, description = "Works for an hour."))),
        (status = 404, description = "There is no such render or download.", body = Message),
        (status = 409, description = "The file is not stored, or not yet.", body = Message),
        (status = 416, description = "The file does not have these bytes.", body = Message),
        Guarded,
    ),
)]
pub(super) async fn get(
    State(renders): State<Arc<Renders>>,
    place: Result<Path<(String, String)>, PathRejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let Path((id, index)) = place.map_err(|_| no_such_file())?;
    let id = render_id(&id)?;
    let index = index.parse().map_err(|_| no_such_file())?;
    let found = queries::file(renders.database.pool(), &id, index);
    let file = match renders.database.within(REQUEST, found).await? {
        Some(File::Stored(file)) => file,
        Some(File::NotStored) => return Err(not_stored()),
        None => return Err(no_such_file()),
    };
    if let Store::Bucket(bucket) = &renders.store
        && let Some(link) = bucket.link(&file.key, method.clone()).await
    {
        let location = HeaderValue::from_str(link.as_str()).map_err(|_| HttpError::unavailable())?;
        let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        return Ok((StatusCode::TEMPORARY_REDIRECT, headers).into_response());
    }
    answer(&renders.store, &file, &method, &headers).await
}

fn no_such_file() -> HttpError {
    HttpError::not_found("the render has no download with this index: GET /renders/{id} lists them")
}

fn not_stored() -> HttpError {
    let message = "the file is not stored, or not yet: GET /renders/{id} tells its state";
    HttpError::new(StatusCode::CONFLICT, message)
}

async fn answer(store: &Store, file: &StoredFile, method: &Method, headers: &HeaderMap) -> Result<Response, HttpError> {
    let etag = format!("\"{}\"", file.sha256);
    let requested = RequestedRange::of(headers, &etag, file.size_bytes);
    let (status, span) = match requested {
        RequestedRange::Whole => (StatusCode::OK, ByteRange { first: 0, length: file.size_bytes }),
        RequestedRange::Part(span) => (StatusCode::PARTIAL_CONTENT, span),
        RequestedRange::NotModified => return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response()),
        RequestedRange::Unsatisfiable => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{}", file.size_bytes))];
            let refusal = HttpError::new(StatusCode::RANGE_NOT_SATISFIABLE, "the range lies outside the file");
            return Ok((range, refusal).into_response());
        }
    };
    let body = if *method == Method::HEAD {
        Body::empty()
    } else {
        body(store, file, span).await.map_err(|cause| broken(&cause))?
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let answer = response.headers_mut();
    let content_type = HeaderValue::from_str(&file.content_type);
    answer.insert(header::CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    answer.insert(header::CONTENT_LENGTH, span.length.into());
    answer.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer.insert(header::ETAG, HeaderValue::from_str(&etag).map_err(|_| HttpError::unavailable())?);
    // A file is what a stranger's server sent: no browser may take it for anything but what it says it is.
    answer.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = span.content_range(file.size_bytes);
        answer.insert(header::CONTENT_RANGE, HeaderValue::from_str(&range).map_err(|_| HttpError::unavailable())?);
    }
    Ok(response)
}

async fn body(store: &Store, file: &StoredFile, span: ByteRange) -> Result<Body, StoreError> {
    if span.length == 0 {
        return Ok(Body::empty());
    }
    Ok(Body::from_stream(store.read(&file.key, Some(span.first..span.first + span.length)).await?))
}

fn broken(cause: &StoreError) -> HttpError {
    error!(event = %LogEvent::StoreFailed, error = %cause, "a stored file cannot be read");
    HttpError::unavailable()
}
