//! The client for Magic Hour's API: a project's details, its deletion, and a probe that checks the API and the key.
//!
//! Guaranteed:
//! - The key is only sent to the API's address, because redirects are not followed. It is never printed.
//! - An id identifies at most one project: it is percent-encoded, and `.` and `..` are rejected before a call.
//! - Only Magic Hour's own answers count. A 404 or 422 without the documented `{"message": …}` comes from something else,
//!   such as a proxy or a wrong base URL, and says nothing about the project.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::DATE;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::error::UpstreamError;
use super::throttle::MAX_PAUSE;
use crate::domain::{Kind, Payload, RenderId};
use crate::http::retry_after;

/// The limits of a call.
#[derive(Debug, Clone, Copy)]
pub struct CallLimits {
    /// The time limit, from the first byte sent to the last byte received.
    pub timeout: Duration,
    /// The maximum size of an answer. Details are a few KiB.
    pub max_body_bytes: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(20), max_body_bytes: 4 << 20 }
    }
}

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The id of a project that cannot exist, in the format of real ids.
const PROBE_ID: &str = "crenderhook00000000000000";

/// Percent-encodes everything except the unreserved characters of RFC 3986.
const ENCODED_IN_ID: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A client for Magic Hour's API. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MagicHour {
    client: Client,
    base: Url,
    key: SecretString,
    max_body_bytes: usize,
}

/// The result of [`probe`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Whether the API accepts the key.
    pub key: Result<(), UpstreamError>,
    /// The time on the API's clock, to the second.
    pub date: Option<DateTime<Utc>>,
}

/// Requests a project that cannot exist. Without a key, this only reads the API's clock. Returns an error if nothing
/// answers.
pub async fn probe(base: &Url, key: Option<&SecretString>) -> Result<Probe, UpstreamError> {
    let limits = CallLimits::default();
    let client = client(limits.timeout).map_err(|error| transport_error(&error))?;
    let mut call = client.get(project_url(base, Kind::Video, PROBE_ID));
    if let Some(key) = key {
        call = call.bearer_auth(key.expose_secret());
    }
    let answer = call.send().await.map_err(|error| transport_error(&error))?;
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok()).map(DateTime::from);
    // Mock servers have an answer for every id.
    let key =
        if answer.status().is_success() { Ok(()) } else { Err(response_error(answer, limits.max_body_bytes).await) };
    let key = match key {
        Err(UpstreamError::NotFound) => Ok(()),
        key => key,
    };
    Ok(Probe { key, date })
}

impl MagicHour {
    /// A client for the API at `base`, which may have a path.
    pub fn new(base: Url, key: SecretString) -> Result<Self, reqwest::Error> {
        Self::with_limits(base, key, CallLimits::default())
    }

    /// A client with other limits than the defaults.
    pub fn with_limits(base: Url, key: SecretString, limits: CallLimits) -> Result<Self, reqwest::Error> {
        Ok(Self { client: client(limits.timeout)?, base, key, max_body_bytes: limits.max_body_bytes })
    }

    /// Gets the details of a project.
    pub async fn details(&self, kind: Kind, id: &RenderId) -> Result<Payload, UpstreamError> {
        let answer = self.call(Method::GET, kind, id).await?;
        if answer.status() != StatusCode::OK {
            return Err(response_error(answer, self.max_body_bytes).await);
        }
        let body = read_body(answer, self.max_body_bytes).await?;
        Payload::from_details(&body).filter(|payload| payload.id == *id).ok_or(UpstreamError::NotTheProject)
    }

    /// Deletes a project permanently. Only the documented 204 counts as success.
    pub async fn delete(&self, kind: Kind, id: &RenderId) -> Result<(), UpstreamError> {
        let answer = self.call(Method::DELETE, kind, id).await?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(());
        }
        match response_error(answer, self.max_body_bytes).await {
            UpstreamError::Rejected(StatusCode::UNPROCESSABLE_ENTITY) => Err(UpstreamError::Template),
            error => Err(error),
        }
    }

    async fn call(&self, method: Method, kind: Kind, id: &RenderId) -> Result<Response, UpstreamError> {
        // As path segments, these would address the list of all projects or its parent.
        if matches!(id.as_str(), "." | "..") {
            return Err(UpstreamError::InvalidId);
        }
        let call = self.client.request(method, project_url(&self.base, kind, id.as_str()));
        call.bearer_auth(self.key.expose_secret()).send().await.map_err(|error| transport_error(&error))
    }
}

fn client(timeout: Duration) -> Result<Client, reqwest::Error> {
    Client::builder()
        .redirect(Policy::none())
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("renderhook/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// `{base}/v1/{kind}-projects/{id}`. The id is encoded here because `Url` would remove tabs and line breaks.
fn project_url(base: &Url, kind: Kind, id: &str) -> Url {
    let mut url = base.clone();
    let id = utf8_percent_encode(id, ENCODED_IN_ID);
    url.set_path(&format!("{}/v1/{kind}-projects/{id}", base.path().trim_end_matches('/')));
    url
}

/// The error for an unexpected answer.
async fn response_error(answer: Response, max_body_bytes: usize) -> UpstreamError {
    let (status, retry_after) = (answer.status(), retry_after(answer.headers()).map(|wait| wait.min(MAX_PAUSE)));
    match status {
        StatusCode::UNAUTHORIZED => UpstreamError::Unauthorized,
        StatusCode::PAYMENT_REQUIRED => UpstreamError::PaymentRequired,
        StatusCode::FORBIDDEN => UpstreamError::Forbidden,
        StatusCode::TOO_MANY_REQUESTS => UpstreamError::RateLimited { retry_after },
        status if status.is_server_error() => UpstreamError::ServerError { status, retry_after },
        status => match read_body(answer, max_body_bytes).await {
            Err(error) => error,
            Ok(body) if !is_magic_hour_error(&body) => UpstreamError::NotMagicHour(status),
            Ok(_) if status == StatusCode::NOT_FOUND => UpstreamError::NotFound,
            Ok(_) => UpstreamError::Rejected(status),
        },
    }
}

/// Whether a body is the documented `{"message": "…"}` of Magic Hour's errors and nothing more. Web frameworks and proxies
/// send other fields, or no JSON.
fn is_magic_hour_error(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct ErrorBody {
        #[serde(rename = "message")]
        _message: String,
    }
    serde_json::from_slice::<ErrorBody>(body).is_ok()
}

async fn read_body(answer: Response, max_body_bytes: usize) -> Result<Bytes, UpstreamError> {
    match Limited::new(reqwest::Body::from(answer), max_body_bytes).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(UpstreamError::TooLarge),
        Err(error) => Err(body_error(error.as_ref())),
    }
}

fn body_error(error: &(dyn Error + Send + Sync + 'static)) -> UpstreamError {
    let timed_out = error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout);
    if timed_out { UpstreamError::Timeout } else { UpstreamError::Truncated }
}

fn transport_error(error: &reqwest::Error) -> UpstreamError {
    if error.is_timeout() { UpstreamError::Timeout } else { UpstreamError::Unreachable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_always_one_path_segment() {
        for (base, id, expected) in [
            ("https://h", "clx123", "/v1/video-projects/clx123"),
            ("https://h/mock/1.0/", "a-b_c~d.e", "/mock/1.0/v1/video-projects/a-b_c~d.e"),
            ("https://h/mock", "a/b?c#d%2e\\", "/mock/v1/video-projects/a%2Fb%3Fc%23d%252e%5C"),
            ("https://h", "\t..\n", "/v1/video-projects/%09..%0A"),
            ("https://h", "%2e%2e", "/v1/video-projects/%252e%252e"),
            ("https://h", "...", "/v1/video-projects/..."),
            ("https://h", " ключ ", "/v1/video-projects/%20%D0%BA%D0%BB%D1%8E%D1%87%20"),
        ] {
            let url = project_url(&Url::parse(base).unwrap(), Kind::Video, id);
            assert_eq!((url.path(), url.query(), url.fragment()), (expected, None, None), "{id:?}");
        }
    }

    #[test]
    fn only_the_documented_error_body_counts_as_magic_hours() {
        for (body, expected) in [
            (r#"{"message":"Not Found"}"#, true),
            (r#" {"message": ""} "#, true),
            (r#"{"statusCode":404,"message":"Not Found"}"#, false),
            (r#"{"detail":"Not Found"}"#, false),
            (r#"{"message":404}"#, false),
            (r#""Not Found""#, false),
            ("<html>404</html>", false),
            ("", false),
        ] {
            assert_eq!(is_magic_hour_error(body.as_bytes()), expected, "{body}");
        }
    }
}
