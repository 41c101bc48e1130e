//! Files behind URLs whose query is a credential.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use tokio::net::TcpListener;
use url::Url;
use uuid::Uuid;

type Shelf = Arc<Mutex<HashMap<String, File>>>;

#[derive(Debug, Clone)]
struct File {
    bytes: Bytes,
    content_type: &'static str,
    credential: String,
}

/// A server of files on a port of its own. It ends with the runtime.
#[derive(Debug, Clone)]
pub struct Files {
    address: SocketAddr,
    shelf: Shelf,
}

impl Files {
    /// Starts it on 127.0.0.1.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shelf = Shelf::default();
        let router = Router::new().route("/{*path}", get(file)).with_state(shelf.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, shelf })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts a file up at `path` (such as `id/output.mp4`) and gives its signed URL.
    pub fn put(&self, path: &str, bytes: impl Into<Bytes>, content_type: &'static str) -> Result<Url, url::ParseError> {
        let credential = format!("X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Signature={}", Uuid::new_v4().simple());
        let url = Url::parse(&format!("http://{}/{path}?{credential}", self.address))?;
        let file = File { bytes: bytes.into(), content_type, credential };
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), file);
        Ok(url)
    }
}

async fn file(State(shelf): State<Shelf>, Path(path): Path<String>, RawQuery(query): RawQuery) -> Response {
    let file = shelf.lock().unwrap_or_else(PoisonError::into_inner).get(&path).cloned();
    match file {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(file) if query.as_deref() == Some(&file.credential) => {
            ([(header::CONTENT_TYPE, file.content_type)], file.bytes).into_response()
        }
        Some(_) => StatusCode::FORBIDDEN.into_response(),
    }
}
