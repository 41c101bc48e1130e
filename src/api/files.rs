//! `GET /renders/{id}/downloads/{index}`: the file itself, and `…/link`: a link to it that needs no token.
//!
//! Where the store can make a presigned URL, the answer is a redirect to it, so that no byte passes through here.
//! Otherwise, or with `SERVE_FILES=proxy`, renderhook sends the bytes, with ranges and validators after RFC 9110. They
//! are read as the caller takes them: neither a large file nor a slow caller fills the memory, and the only time limit
//! is on the store's silence.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use futures::TryStreamExt;
use serde::Serialize;
use tracing::error;
use url::Url;
use utoipa::ToSchema;

use crate::api::bearer::{Access, missing_token};
use crate::api::link_key::{InvalidLink, LinkKeyCell, SignedQuery};
use crate::api::queries::{self, File, StoredFile, file_path};
use crate::api::renders::{Renders, render_id};
use crate::archive::{LINK_LIFETIME, Store};
use crate::domain::RenderId;
use crate::http::{ByteRange, CommonErrors, HttpError, Message, RequestedRange};
use crate::runtime::{LogEvent, REQUEST_TIMEOUT};

/// How the bytes of a file reach a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServeFiles {
    /// By a redirect to a presigned URL, where the store can make one.
    Redirect,
    /// Through renderhook, for stores that callers cannot reach.
    Proxy,
}

/// A text that is neither `redirect` nor `proxy`.
#[derive(Debug, thiserror::Error)]
#[error("must be redirect or proxy")]
pub struct UnknownServeFiles;

impl FromStr for ServeFiles {
    type Err = UnknownServeFiles;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "redirect" => Ok(Self::Redirect),
            "proxy" => Ok(Self::Proxy),
            _ => Err(UnknownServeFiles),
        }
    }
}

/// How files are served.
#[derive(Debug)]
pub struct FileServing {
    /// By a redirect, or through renderhook.
    pub mode: ServeFiles,
    /// What the links begin with that renderhook signs itself; without it they are paths.
    pub public_url: Option<Url>,
    /// What they are signed with.
    pub link_key: LinkKeyCell,
}

/// What a path names.
type FileName = Result<Path<(String, String)>, PathRejection>;

/// A stored file
///
/// A redirect to a presigned URL where the store can make one and `SERVE_FILES` is `redirect`, otherwise the bytes,
/// with `Range`, `If-Range` and `If-None-Match`. `HEAD` is answered likewise. Needs a token, or the `expires` and
/// `signature` of a link.
#[utoipa::path(
    get,
    path = "/renders/{id}/downloads/{index}",
    operation_id = "get_file",
    tag = "renders",
    params(
        ("id" = String, Path, min_length = 1, max_length = 255, description = "Magic Hour's id of the render.", example = "clx123"),
        ("index" = i32, Path, minimum = 0, description = "The download's `index`."),
        ("expires" = Option<i64>, Query, nullable = false, description = "From a link: when it expires, in Unix seconds."),
        ("signature" = Option<String>, Query, nullable = false, description = "From a link."),
        ("Range" = Option<String>, Header, nullable = false, description = "The bytes that are wanted.", example = "bytes=0-1023"),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "The `ETag` of a copy that the caller has."),
    ),
    security(("token" = []), ()),
    responses(
        (status = 200, description = "The whole file, with its own content type.", body = Vec<u8>, content_type = "application/octet-stream",
            headers(("ETag" = String, description = "The SHA-256 in quotes."), ("Accept-Ranges" = String, description = "`bytes`."))),
        (status = 206, description = "The requested bytes.", body = Vec<u8>, content_type = "application/octet-stream",
            headers(("ETag" = String, description = "The SHA-256 in quotes."), ("Content-Range" = String, description = "Which bytes of how many."))),
        (status = 304, description = "The caller has the file."),
        (status = 307, description = "`Location` is a presigned URL of the file.",
            headers(("Location" = String, description = "Works for an hour."))),
        (status = 403, description = "The link has expired, or is not one of ours.", body = Message),
        (status = 404, description = "There is no such render or download.", body = Message),
        (status = 409, description = "The file is not stored, or not yet.", body = Message),
        (status = 416, description = "The file does not have these bytes.", body = Message),
        CommonErrors,
    ),
)]
pub(super) async fn get(
    State(renders): State<Arc<Renders>>,
    name: FileName,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let (id, index) = parse(name)?;
    let file = find(&renders, &id, index).await?;
    if let Some(link) = presigned(&renders, &file, method.clone()).await {
        let location = HeaderValue::from_str(link.as_str()).map_err(|_| HttpError::unavailable())?;
        let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        return Ok((StatusCode::TEMPORARY_REDIRECT, headers).into_response());
    }
    answer(&renders.store, &file, &method, &headers).await
}

/// A link to a file.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Link {
    /// Where the file is, for anyone. A path, to be resolved against renderhook's address, where neither the store can
    /// make a URL nor `PUBLIC_URL` is set.
    url: String,
    /// Until when the link works.
    expires_at: DateTime<Utc>,
}

/// A link to a stored file that needs no token for an hour
///
/// For browsers and players, which cannot send a token. Whoever has the link can read this one file.
#[utoipa::path(
    get,
    path = "/renders/{id}/downloads/{index}/link",
    operation_id = "get_file_link",
    tag = "renders",
    params(
        ("id" = String, Path, min_length = 1, max_length = 255, description = "Magic Hour's id of the render.", example = "clx123"),
        ("index" = i32, Path, minimum = 0, description = "The download's `index`."),
    ),
    responses(
        (status = 200, description = "The link.", body = Link),
        (status = 404, description = "There is no such render or download.", body = Message),
        (status = 409, description = "The file is not stored, or not yet.", body = Message),
        CommonErrors,
    ),
)]
pub(super) async fn link(State(renders): State<Arc<Renders>>, name: FileName) -> Result<Response, HttpError> {
    let (id, index) = parse(name)?;
    let file = find(&renders, &id, index).await?;
    let now = renders.clock.now();
    let expires_at = now + LINK_LIFETIME;
    let expires_at = expires_at.duration_trunc(TimeDelta::seconds(1)).unwrap_or(expires_at);
    let url = if let Some(url) = presigned(&renders, &file, Method::GET).await {
        url.into()
    } else {
        let key = renders.files.link_key.get(&renders.database, now).await?;
        let base = renders.files.public_url.as_ref().map(Url::as_str).unwrap_or_default();
        let (path, query) = (file_path(id.as_str(), index), key.sign(&id, index, expires_at));
        format!("{}{path}?{query}", base.trim_end_matches('/'))
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(Link { url, expires_at })).into_response())
}

/// Admits a caller with a token, or with a link to this very file.
pub(super) async fn admit(
    State((access, renders)): State<(Arc<Access>, Arc<Renders>)>,
    name: FileName,
    request: Request,
    next: Next,
) -> Response {
    if access.admits(request.headers()) {
        return next.run(request).await;
    }
    let Some(signed) = request.uri().query().and_then(SignedQuery::parse) else {
        return missing_token().into_response();
    };
    match verify(&renders, name, &signed).await {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

async fn verify(renders: &Renders, name: FileName, signed: &SignedQuery) -> Result<(), HttpError> {
    // To a stranger, a path that is no file's is a link that is not ours.
    let (id, index) = parse(name).map_err(|_| invalid(InvalidLink::Forged))?;
    let now = renders.clock.now();
    let key = renders.files.link_key.get(&renders.database, now).await?;
    key.verify(&id, index, signed, now).map_err(invalid)
}

fn invalid(link: InvalidLink) -> HttpError {
    let message = match link {
        InvalidLink::Expired => "the link has expired: get a new one from GET /renders/{id}/downloads/{index}/link",
        InvalidLink::Forged => "the link is not valid: take one as it is from GET /renders/{id}/downloads/{index}/link",
    };
    HttpError::new(StatusCode::FORBIDDEN, message)
}

fn parse(name: FileName) -> Result<(RenderId, i32), HttpError> {
    let Path((id, index)) = name.map_err(|_| no_such_file())?;
    Ok((render_id(&id)?, index.parse().map_err(|_| no_such_file())?))
}

async fn find(renders: &Renders, id: &RenderId, index: i32) -> Result<StoredFile, HttpError> {
    let found = queries::file(renders.database.pool(), id, index);
    match renders.database.with_timeout(REQUEST_TIMEOUT, found).await? {
        Some(File::Stored(file)) => Ok(file),
        Some(File::NotStored) => Err(not_stored()),
        None => Err(no_such_file()),
    }
}

/// The store's own URL of a file, where it can make one and callers may go there.
async fn presigned(renders: &Renders, file: &StoredFile, method: Method) -> Option<Url> {
    match (renders.files.mode, &renders.store) {
        (ServeFiles::Redirect, Store::Bucket(bucket)) => bucket.link(&file.key, method).await,
        (ServeFiles::Redirect, Store::Folder(_)) | (ServeFiles::Proxy, _) => None,
    }
}

fn no_such_file() -> HttpError {
    HttpError::not_found("the render has no download with this index: GET /renders/{id} lists them")
}

fn not_stored() -> HttpError {
    let message = "the file is not stored, or not yet: GET /renders/{id} shows its state";
    HttpError::new(StatusCode::CONFLICT, message)
}

async fn answer(store: &Store, file: &StoredFile, method: &Method, headers: &HeaderMap) -> Result<Response, HttpError> {
    let etag = format!("\"{}\"", file.sha256);
    let (status, range) = match RequestedRange::from_headers(headers, &etag, file.size_bytes) {
        RequestedRange::Whole => (StatusCode::OK, ByteRange { first: 0, length: file.size_bytes }),
        RequestedRange::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        RequestedRange::NotModified => return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response()),
        RequestedRange::Unsatisfiable => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{}", file.size_bytes))];
            let refusal = HttpError::new(StatusCode::RANGE_NOT_SATISFIABLE, "the range lies outside the file");
            return Ok((range, refusal).into_response());
        }
    };
    let mut response = Response::new(body(store, file, method, range).await?);
    *response.status_mut() = status;
    let answer = response.headers_mut();
    let content_type = HeaderValue::from_str(&file.content_type);
    answer.insert(header::CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    answer.insert(header::CONTENT_LENGTH, range.length.into());
    answer.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer.insert(header::ETAG, HeaderValue::from_str(&etag).map_err(|_| HttpError::unavailable())?);
    // A link needs no token, so only this header keeps a shared cache from handing the file to others.
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    // The file came from another server: a browser must not treat it as anything but its content type.
    answer.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = range.content_range(file.size_bytes);
        answer.insert(header::CONTENT_RANGE, HeaderValue::from_str(&range).map_err(|_| HttpError::unavailable())?);
    }
    Ok(response)
}

/// The bytes of `range`; for `HEAD` none, but only if `GET` would send them.
async fn body(store: &Store, file: &StoredFile, method: &Method, range: ByteRange) -> Result<Body, HttpError> {
    if *method == Method::HEAD || range.length == 0 {
        let size = store.size(&file.key).await.map_err(unreadable)?;
        return if size == file.size_bytes { Ok(Body::empty()) } else { Err(unreadable("it has another length")) };
    }
    let bytes = store.read(&file.key, Some(range.first..range.first + range.length)).await.map_err(unreadable)?;
    Ok(Body::from_stream(bytes.inspect_err(log_unreadable)))
}

fn unreadable(cause: impl Display) -> HttpError {
    log_unreadable(&cause);
    HttpError::unavailable()
}

fn log_unreadable(cause: &impl Display) {
    error!(event = %LogEvent::StoreFailed, error = %cause, "a stored file cannot be read");
}
