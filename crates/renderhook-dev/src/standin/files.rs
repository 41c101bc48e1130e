//! Files behind URLs whose query is a credential that expires.
//!
//! A URL is signed for one path and one time, as Magic Hour's are: it works until it expires, wherever it was handed out,
//! and any number of them may be alive for one file. A wrong or dead one is 403, a file that is not there 404.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use tokio::net::TcpListener;
use url::Url;
use uuid::Uuid;

use renderhook::intake::signature::sign;
use renderhook::runtime::Clock;

/// How long a URL lives that [`Files::put`] gives.
const LIFE: TimeDelta = TimeDelta::hours(24);
/// What a credential begins with.
const ALGORITHM: &str = "X-Goog-Algorithm=GOOG4-RSA-SHA256";

#[derive(Debug, Clone)]
struct File {
    bytes: Bytes,
    content_type: &'static str,
}

/// A server of files on a port of its own. It ends with the runtime.
#[derive(Debug, Clone)]
pub struct Files {
    address: SocketAddr,
    clock: Clock,
    secret: SecretString,
    shelf: Arc<Mutex<HashMap<String, File>>>,
}

impl Files {
    /// Starts it on 127.0.0.1.
    pub async fn start(clock: Clock) -> std::io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let secret = SecretString::from(Uuid::new_v4().simple().to_string());
        let files = Self { address, clock, secret, shelf: Arc::default() };
        let router = Router::new().route("/{*path}", get(file)).with_state(files.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(files)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts a file up at `path` (such as `id/output.mp4`) and gives a URL that lives for a day.
    pub fn put(&self, path: &str, bytes: impl Into<Bytes>, content_type: &'static str) -> Result<Url, url::ParseError> {
        self.shelf().insert(path.to_owned(), File { bytes: bytes.into(), content_type });
        self.sign(path, self.clock.now() + LIFE)
    }

    /// A fresh URL of the file at `path`, which works until `expires_at`.
    pub fn sign(&self, path: &str, expires_at: DateTime<Utc>) -> Result<Url, url::ParseError> {
        let mut url = Url::parse(&format!("http://{}/{path}", self.address))?;
        let nonce = Uuid::new_v4().simple();
        let claim = format!("{ALGORITHM}&X-Goog-Credential={nonce}&X-Goog-Expires={}", expires_at.timestamp_millis());
        url.set_query(Some(&format!("{claim}&X-Goog-Signature={}", sign(&self.secret, &claim, path.as_bytes()))));
        Ok(url)
    }

    /// Takes down what is below `folder`.
    pub(super) fn remove(&self, folder: &str) {
        self.shelf().retain(|path, _| path.split_once('/').is_none_or(|(first, _)| first != folder));
    }

    fn shelf(&self) -> MutexGuard<'_, HashMap<String, File>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `query` opens `path` now.
    fn opens(&self, path: &str, query: &str) -> bool {
        let Some((claim, signature)) = query.rsplit_once("&X-Goog-Signature=") else { return false };
        let expires_at = claim.rsplit_once('=').and_then(|(_, millis)| millis.parse().ok());
        let alive = expires_at.is_some_and(|expires_at: i64| self.clock.now().timestamp_millis() < expires_at);
        alive && signature == sign(&self.secret, claim, path.as_bytes())
    }
}

async fn file(State(files): State<Files>, Path(path): Path<String>, RawQuery(query): RawQuery) -> Response {
    let file = files.shelf().get(&path).cloned();
    match file {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(file) if files.opens(&path, &query.unwrap_or_default()) => {
            ([(header::CONTENT_TYPE, file.content_type)], file.bytes).into_response()
        }
        Some(_) => StatusCode::FORBIDDEN.into_response(),
    }
}
