//! `GET /renders/{id}/downloads/{index}`: a stored file; and `…/link`: a link to it that needs no token.
//!
//! If the store supports presigned URLs, the answer is a redirect, and no bytes pass through renderhook. Otherwise, or
//! with `SERVE_FILES=proxy`, renderhook sends the bytes, with ranges and validators as in RFC 9110. They are read only as
//! fast as the client takes them, so neither large files nor slow clients take up memory. The only time limit is on the
//! store's silence.

use std::fmt::Display;
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
use serde::{Deserialize, Serialize};
use tracing::error;
use url::Url;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::access::{Access, Need};
use crate::api::file_serving::ServeFiles;
use crate::api::guard::{AdmittedByLink, RouteGuard};
use crate::api::link_key::{InvalidLink, SignedQuery};
use crate::api::queries::{self, FileLookup, StoredFile};
use crate::api::renders::{ApiState, render_id};
use crate::archive::{LINK_LIFETIME, Store};
use crate::domain::{ObjectKey, RenderId};
use crate::http::{ByteRange, CommonErrors, HttpError, Message, RequestedRange};
use crate::runtime::{LogEvent, REQUEST_TIMEOUT};
use crate::views::file_path;

/// The path parameters. The index is text here, so that an invalid one is answered like an unknown one.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct DownloadPath {
    /// Magic Hour's id of the render.
    #[param(min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$", example = "clx123")]
    id: String,
    /// The download's `index`.
    #[param(value_type = i32, minimum = 0)]
    index: String,
}

/// What a caller without a link must be allowed to do.
const FILE_NEED: Need = Need::Read;

/// The route of the bytes of a file, which also need [`admit_by_link`].
pub(super) fn routes(guard: &RouteGuard) -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(guard.requires(FILE_NEED, routes!(get)))
}

/// The route of links.
pub(super) fn link_routes(guard: &RouteGuard) -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new().routes(guard.requires(Need::Read, routes!(link)))
}

type FilePath = Result<Path<DownloadPath>, PathRejection>;

/// The body of a file in the OpenAPI document, where `Vec<u8>` would be a list of numbers.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "it only describes the body")]
struct FileBody(Vec<u8>);

/// A stored file
///
/// Redirects to a presigned URL if the store supports it and `SERVE_FILES` is `redirect`. Otherwise returns the bytes,
/// with support for `Range`, `If-Range`, and `If-None-Match`. `HEAD` works, too. Needs a token, or the `expires` and
/// `signature` of a link.
#[utoipa::path(
    get,
    path = "/renders/{id}/downloads/{index}",
    operation_id = "get_file",
    tag = "renders",
    params(
        DownloadPath,
        ("expires" = Option<i64>, Query, nullable = false, description = "From a link: its expiry time, in Unix seconds."),
        ("signature" = Option<String>, Query, nullable = false, description = "From a link."),
        ("Range" = Option<String>, Header, nullable = false, description = "The requested bytes.", example = "bytes=0-1023"),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "The `ETag` of the client's copy."),
    ),
    security(()),
    responses(
        (status = 200, description = "The whole file, with its own content type.", body = inline(FileBody), content_type = "application/octet-stream",
            headers(("ETag" = String, description = "The SHA-256 in quotes."), ("Accept-Ranges" = String, description = "`bytes`."))),
        (status = 206, description = "The requested bytes.", body = inline(FileBody), content_type = "application/octet-stream",
            headers(("ETag" = String, description = "The SHA-256 in quotes."), ("Content-Range" = String, description = "The position of the bytes and the size of the file."))),
        (status = 304, description = "The client's copy is current."),
        (status = 307, description = "`Location` is a presigned URL of the file.",
            headers(("Location" = String, description = "Works for an hour."))),
        CommonErrors,
        (status = 403, description = "The link has expired or is invalid, or the token is not for this route.", body = Message),
        (status = 404, description = "The render or the download does not exist.", body = Message),
        (status = 409, description = "The file is not stored (yet).", body = Message),
        (status = 416, description = "The range is outside the file.", body = Message),
    ),
)]
pub(super) async fn get(
    State(state): State<Arc<ApiState>>,
    name: FilePath,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let (id, index) = parse(name)?;
    let file = find(&state, &id, index).await?;
    if let Some(link) = presigned(&state, &file.key, method.clone()).await {
        let location = HeaderValue::from_str(link.as_str()).map_err(|_| HttpError::unavailable())?;
        let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        return Ok((StatusCode::TEMPORARY_REDIRECT, headers).into_response());
    }
    answer(&state.store, &file, &method, &headers).await
}

/// A link to a file.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileLink {
    /// The URL of the file. A path relative to renderhook's address if the store cannot presign URLs and `PUBLIC_URL` is not
    /// set.
    pub url: String,
    /// When the link expires.
    pub expires_at: DateTime<Utc>,
}

/// A link to a stored file that needs no token for an hour
///
/// For browsers and media players, because they cannot send a token. Anyone with the link can read this file, and nothing else.
#[utoipa::path(
    get,
    path = "/renders/{id}/downloads/{index}/link",
    operation_id = "get_file_link",
    tag = "renders",
    params(
        DownloadPath,
    ),
    responses(
        (status = 200, description = "The link.", body = FileLink),
        (status = 404, description = "The render or the download does not exist.", body = Message),
        (status = 409, description = "The file is not stored (yet).", body = Message),
        CommonErrors,
    ),
)]
pub(super) async fn link(State(state): State<Arc<ApiState>>, name: FilePath) -> Result<Response, HttpError> {
    let (id, index) = parse(name)?;
    let file = find(&state, &id, index).await?;
    let base = state.files.public_url.as_ref().map(Url::as_str).unwrap_or_default();
    let link = state.link(&id, index, &file.key, base).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(link)).into_response())
}

impl ApiState {
    /// A link to a stored file that needs no token. If renderhook has to sign it, it begins with `base`, and with the path
    /// if that is empty.
    pub(crate) async fn link(
        &self,
        id: &RenderId,
        index: i32,
        key: &ObjectKey,
        base: &str,
    ) -> Result<FileLink, HttpError> {
        let now = self.clock.now();
        let expires_at = now + LINK_LIFETIME;
        let expires_at = expires_at.duration_trunc(TimeDelta::seconds(1)).unwrap_or(expires_at);
        let url = if let Some(url) = presigned(self, key, Method::GET).await {
            url.into()
        } else {
            let link_key = self.files.link_key.get(&self.database, now).await?;
            let (path, query) = (file_path(id.as_str(), index), link_key.sign(id, index, expires_at));
            format!("{}{path}?{query}", base.trim_end_matches('/'))
        };
        Ok(FileLink { url, expires_at })
    }
}

/// Middleware that admits requests with a link to this file. The [`RouteGuard`] decides about those without a link.
pub(super) async fn admit_by_link(
    State((access, state)): State<(Arc<Access>, Arc<ApiState>)>,
    name: FilePath,
    mut request: Request,
    next: Next,
) -> Response {
    let signed = request.uri().query().and_then(SignedQuery::parse);
    // A token that suffices makes the link irrelevant.
    if let Some(signed) = signed.filter(|_| access.check(request.headers(), FILE_NEED).is_err()) {
        if let Err(error) = verify(&state, name, &signed).await {
            return error.into_response();
        }
        request.extensions_mut().insert(AdmittedByLink);
    }
    next.run(request).await
}

async fn verify(state: &ApiState, name: FilePath, signed: &SignedQuery) -> Result<(), HttpError> {
    // To unauthorized callers, an invalid path looks like an invalid link.
    let (id, index) = parse(name).map_err(|_| link_error(InvalidLink::Forged))?;
    let now = state.clock.now();
    let key = state.files.link_key.get(&state.database, now).await?;
    key.verify(&id, index, signed, now).map_err(link_error)
}

fn link_error(error: InvalidLink) -> HttpError {
    let message = match error {
        InvalidLink::Expired => "the link has expired: get a new one from GET /renders/{id}/downloads/{index}/link",
        InvalidLink::Forged => {
            "the link is invalid: use it exactly as returned by GET /renders/{id}/downloads/{index}/link"
        }
    };
    HttpError::new(StatusCode::FORBIDDEN, message)
}

fn parse(name: FilePath) -> Result<(RenderId, i32), HttpError> {
    let Path(DownloadPath { id, index }) = name.map_err(|_| no_such_file())?;
    Ok((render_id(&id)?, index.parse().map_err(|_| no_such_file())?))
}

async fn find(state: &ApiState, id: &RenderId, index: i32) -> Result<StoredFile, HttpError> {
    let found = queries::file(state.database.pool(), id, index);
    match state.database.with_timeout(REQUEST_TIMEOUT, found).await? {
        Some(FileLookup::Stored(file)) => Ok(file),
        Some(FileLookup::NotStored) => Err(not_stored()),
        None => Err(no_such_file()),
    }
}

/// A presigned URL of the file, if the store supports it and clients may access the store.
async fn presigned(state: &ApiState, key: &ObjectKey, method: Method) -> Option<Url> {
    match (state.files.mode, &state.store) {
        (ServeFiles::Redirect, Store::Bucket(bucket)) => bucket.link(key, method).await,
        (ServeFiles::Redirect, Store::Folder(_)) | (ServeFiles::Proxy, _) => None,
    }
}

fn no_such_file() -> HttpError {
    HttpError::not_found("the render has no download with this index: GET /renders/{id} lists its downloads")
}

fn not_stored() -> HttpError {
    let message = "the file is not stored (yet): GET /renders/{id} shows its state";
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
            let error = HttpError::new(StatusCode::RANGE_NOT_SATISFIABLE, "the range is outside the file");
            return Ok((range, error).into_response());
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
    // A request with a link has no `Authorization` header, so only this header keeps shared caches from serving the file to
    // others.
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    // The file comes from another server, so browsers must not guess its type or run scripts in it.
    answer.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = range.content_range(file.size_bytes);
        answer.insert(header::CONTENT_RANGE, HeaderValue::from_str(&range).map_err(|_| HttpError::unavailable())?);
    }
    Ok(response)
}

/// The bytes of `range`. For `HEAD`, an empty body, but only if `GET` would succeed.
async fn body(store: &Store, file: &StoredFile, method: &Method, range: ByteRange) -> Result<Body, HttpError> {
    if *method == Method::HEAD || range.length == 0 {
        let size = store.size(&file.key).await.map_err(unreadable)?;
        return if size == file.size_bytes { Ok(Body::empty()) } else { Err(unreadable("its size has changed")) };
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
