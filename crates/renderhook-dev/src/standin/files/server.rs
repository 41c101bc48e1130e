//! Files behind signed URLs that expire.
//!
//! A wrong or expired URL gets 403, an unknown file 404.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use renderhook::runtime::Clock;
use tokio::net::TcpListener;
use url::Url;

use super::url_signer::UrlSigner;

/// The lifetime of a URL from [`FileServer::put`].
const URL_LIFETIME: TimeDelta = TimeDelta::hours(24);
/// Where the files are on the server.
const PATH: &str = "files";

#[derive(Debug, Clone)]
struct File {
    bytes: Bytes,
    content_type: &'static str,
}

/// The file server. Cheap to clone; it ends with the runtime.
#[derive(Debug, Clone)]
pub struct FileServer {
    /// What URLs begin with.
    origin: String,
    signer: UrlSigner,
    files: Arc<Mutex<HashMap<String, File>>>,
}

impl FileServer {
    /// Starts one on a port of its own on 127.0.0.1.
    pub async fn start(clock: Clock) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server = Self::new(http_origin(listener.local_addr()?), UrlSigner::new(clock));
        let router = server.clone().router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(server)
    }

    /// One whose routes are served at `origin` by the caller.
    pub(in crate::standin) fn new(origin: String, signer: UrlSigner) -> Self {
        Self { origin, signer, files: Arc::default() }
    }

    /// The same files, reached at another address.
    pub(in crate::standin) fn reached_at(&self, origin: String) -> Self {
        Self { origin, ..self.clone() }
    }

    pub(in crate::standin) fn router(self) -> Router {
        Router::new().route(&format!("/{PATH}/{{*path}}"), get(serve_file)).with_state(self)
    }

    /// Adds a file at `path` (such as `id/output.mp4`), and returns a URL that is valid for a day.
    pub fn put(&self, path: &str, bytes: impl Into<Bytes>, content_type: &'static str) -> Result<Url, url::ParseError> {
        self.files().insert(path.to_owned(), File { bytes: bytes.into(), content_type });
        self.sign(path, self.signer.clock().now() + URL_LIFETIME)
    }

    /// A new URL for the file at `path`, valid until `expires_at`.
    pub fn sign(&self, path: &str, expires_at: DateTime<Utc>) -> Result<Url, url::ParseError> {
        let mut url = Url::parse(&format!("{}/{PATH}/{path}", self.origin))?;
        url.set_query(Some(&self.signer.query(&Method::GET, path, expires_at)));
        Ok(url)
    }

    /// Removes the files below `folder`.
    pub(in crate::standin) fn remove(&self, folder: &str) {
        self.files().retain(|path, _| path.split_once('/').is_none_or(|(first, _)| first != folder));
    }

    fn files(&self) -> MutexGuard<'_, HashMap<String, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The origin of a server that listens on `address`. One that listens on all addresses is reachable on the loopback address.
pub(in crate::standin) fn http_origin(address: SocketAddr) -> String {
    let is_any = address.ip().is_unspecified();
    let reachable = if is_any { (Ipv4Addr::LOCALHOST, address.port()).into() } else { address };
    format!("http://{reachable}")
}

async fn serve_file(State(server): State<FileServer>, Path(path): Path<String>, RawQuery(query): RawQuery) -> Response {
    let file = server.files().get(&path).cloned();
    match file {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(file) if server.signer.allows(&Method::GET, &path, &query.unwrap_or_default()) => {
            ([(header::CONTENT_TYPE, file.content_type)], file.bytes).into_response()
        }
        Some(_) => StatusCode::FORBIDDEN.into_response(),
    }
}
