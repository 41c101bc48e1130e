//! Uploads: the call that hands out URLs, and the `PUT` to those URLs.
//!
//! What is uploaded is counted and dropped. A file that was announced and never uploaded is remembered, because a create
//! call that names it cannot be rendered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{Method, StatusCode};
use axum::routing::put;
use chrono::{SecondsFormat, TimeDelta};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::ApiError;
use crate::standin::call_log::{ApiCall, CallLog};
use crate::standin::files::UrlSigner;

/// How long a URL takes an upload.
const URL_LIFETIME: TimeDelta = TimeDelta::hours(24);
/// Where uploads go on the server.
const PATH: &str = "uploads";
/// The documented extensions of each type.
const EXTENSIONS: [(&str, &str); 3] = [
    ("video", "mp4, m4v, mov, webm"),
    ("audio", "mp3, wav, aac, flac, webm, weba, m4a, opus, ogg, oga, aiff, amr"),
    ("image", "png, jpg, jpeg, jfif, heic, heif, webp, avif, jp2, tiff, tif, bmp"),
];

/// The uploads. Cheap to clone: clones share their state.
#[derive(Debug, Clone)]
pub(in crate::standin) struct Uploads {
    signer: UrlSigner,
    call_log: CallLog,
    /// The size of each file, once it is uploaded.
    sizes: Arc<Mutex<HashMap<String, Option<u64>>>>,
}

impl Uploads {
    pub(in crate::standin) fn new(signer: UrlSigner, call_log: CallLog) -> Self {
        Self { signer, call_log, sizes: Arc::default() }
    }

    pub(in crate::standin) fn router(self) -> Router {
        let path = format!("/{PATH}/{{*path}}");
        Router::new().route(&path, put(take_upload)).layer(DefaultBodyLimit::disable()).with_state(self)
    }

    /// The answer of the call that hands out a URL for each of the `items` of its body, below `origin`.
    pub(in crate::standin) fn announce(&self, body: &Value, origin: &str) -> Result<Value, ApiError> {
        let expires_at = self.signer.clock().now() + URL_LIFETIME;
        let mut items = Vec::new();
        for item in body["items"].as_array().into_iter().flatten() {
            let text = |field: &str| item[field].as_str().unwrap_or_default();
            let (media_type, extension) = (text("type"), text("extension"));
            check_extension(media_type, extension)?;
            let path = format!("api-assets/{}/{media_type}.{extension}", Uuid::new_v4().simple());
            let query = self.signer.query(&Method::PUT, &path, expires_at);
            items.push(json!({
                "upload_url": format!("{origin}/{PATH}/{path}?{query}"),
                "expires_at": expires_at.to_rfc3339_opts(SecondsFormat::Millis, true),
                "file_path": path,
            }));
            self.sizes().insert(path, None);
        }
        Ok(json!({"items": items}))
    }

    /// Whether `path` was announced, and nothing was uploaded there.
    pub(in crate::standin) fn is_missing(&self, path: &str) -> bool {
        self.sizes().get(path).is_some_and(Option::is_none)
    }

    fn sizes(&self) -> MutexGuard<'_, HashMap<String, Option<u64>>> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_extension(media_type: &str, extension: &str) -> Result<(), ApiError> {
    match EXTENSIONS.iter().find(|(known, _)| *known == media_type) {
        Some((_, extensions)) if !extensions.split(", ").any(|known| known == extension) => {
            Err(ApiError::unprocessable(format!(
                "'{extension}' is an invalid {media_type} extension. Possible extensions are '{extensions}'"
            )))
        }
        Some(_) | None => Ok(()),
    }
}

async fn take_upload(
    State(uploads): State<Uploads>,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    body: Body,
) -> StatusCode {
    let status = if !uploads.signer.allows(&Method::PUT, &path, &query.unwrap_or_default()) {
        StatusCode::FORBIDDEN
    } else if let Some(size) = count_bytes(body).await {
        uploads.sizes().insert(path.clone(), Some(size));
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    uploads.call_log.add_call(ApiCall {
        at: uploads.signer.clock().now(),
        method: Method::PUT,
        id: path.rsplit('/').next().unwrap_or_default().to_owned(),
        path: format!("/{PATH}/{path}"),
        created: None,
        status: Some(status),
    });
    status
}

/// The size of a body; `None` if it breaks off.
async fn count_bytes(mut body: Body) -> Option<u64> {
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        size += frame.ok()?.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
    }
    Some(size)
}
