//! Files behind signed URLs that expire.
//!
//! As with Magic Hour's, a URL is signed for one path and one time, and works until then. A file can have any number of
//! valid URLs at once. A wrong or expired URL gets 403, an unknown file 404.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use renderhook::intake::sign_delivery;
use renderhook::runtime::Clock;
use secrecy::SecretString;
use tokio::net::TcpListener;
use url::Url;
use uuid::Uuid;

/// The lifetime of a URL from [`FileServer::put`].
const URL_LIFETIME: TimeDelta = TimeDelta::hours(24);
/// Where the files are on the server.
const PATH: &str = "files";
/// How the query of a signed URL starts.
const ALGORITHM: &str = "X-Goog-Algorithm=GOOG4-RSA-SHA256";

#[derive(Debug, Clone)]
struct File {
    bytes: Bytes,
    content_type: &'static str,
}

/// The file server. Cheap to clone; it ends with the runtime.
#[derive(Debug, Clone)]
pub struct FileServer {
    address: SocketAddr,
    clock: Clock,
    secret: SecretString,
    files: Arc<Mutex<HashMap<String, File>>>,
}

impl FileServer {
    /// Starts one on a port of its own on 127.0.0.1.
    pub async fn start(clock: Clock) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server = Self::new(listener.local_addr()?, clock);
        let router = server.clone().router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(server)
    }

    /// One whose routes are served at `address` by the caller.
    pub(super) fn new(address: SocketAddr, clock: Clock) -> Self {
        let secret = SecretString::from(Uuid::new_v4().simple().to_string());
        Self { address, clock, secret, files: Arc::default() }
    }

    pub(super) fn router(self) -> Router {
        Router::new().route(&format!("/{PATH}/{{*path}}"), get(serve_file)).with_state(self)
    }

    /// Adds a file at `path` (such as `id/output.mp4`), and returns a URL that is valid for a day.
    pub fn put(&self, path: &str, bytes: impl Into<Bytes>, content_type: &'static str) -> Result<Url, url::ParseError> {
        self.files().insert(path.to_owned(), File { bytes: bytes.into(), content_type });
        self.sign(path, self.clock.now() + URL_LIFETIME)
    }

    /// A new URL for the file at `path`, valid until `expires_at`.
    pub fn sign(&self, path: &str, expires_at: DateTime<Utc>) -> Result<Url, url::ParseError> {
        let mut url = Url::parse(&format!("http://{}/{PATH}/{path}", self.address))?;
        let nonce = Uuid::new_v4().simple();
        let claim = format!("{ALGORITHM}&X-Goog-Credential={nonce}&X-Goog-Expires={}", expires_at.timestamp_millis());
        url.set_query(Some(&format!(
            "{claim}&X-Goog-Signature={}",
            sign_delivery(&self.secret, &claim, path.as_bytes())
        )));
        Ok(url)
    }

    /// Removes the files below `folder`.
    pub(super) fn remove(&self, folder: &str) {
        self.files().retain(|path, _| path.split_once('/').is_none_or(|(first, _)| first != folder));
    }

    fn files(&self) -> MutexGuard<'_, HashMap<String, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `query` gives access to `path` now.
    fn allows(&self, path: &str, query: &str) -> bool {
        let Some((claim, signature)) = query.rsplit_once("&X-Goog-Signature=") else { return false };
        let expires_at = claim.rsplit_once('=').and_then(|(_, millis)| millis.parse().ok());
        let is_valid = expires_at.is_some_and(|expires_at: i64| self.clock.now().timestamp_millis() < expires_at);
        is_valid && signature == sign_delivery(&self.secret, claim, path.as_bytes())
    }
}

async fn serve_file(State(server): State<FileServer>, Path(path): Path<String>, RawQuery(query): RawQuery) -> Response {
    let file = server.files().get(&path).cloned();
    match file {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(file) if server.allows(&path, &query.unwrap_or_default()) => {
            ([(header::CONTENT_TYPE, file.content_type)], file.bytes).into_response()
        }
        Some(_) => StatusCode::FORBIDDEN.into_response(),
    }
}
