//! Posts messages, under the guard that downloads use.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::message::NotificationMessage;
use super::signing::SigningKeys;
use crate::archive::{Guard, GuardedResolver, UrlRejection};
use crate::http::retry_after;

/// How much of an answer is read and kept.
const MAX_ANSWER_BYTES: usize = 1024;

/// Why a message was not accepted. As text, it is for the API and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostError {
    /// The status of the answer, or why there was none. Safe to log.
    pub reason: String,
    /// The beginning of the answer's body, on one line. It may repeat anything, such as the signature and the name of the
    /// render, so it is not logged.
    pub answer: String,
}

impl PostError {
    /// Without an answer.
    pub fn unanswered(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), answer: String::new() }
    }
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, answer } = self;
        if answer.is_empty() { f.write_str(reason) } else { write!(f, "{reason}: {answer}") }
    }
}

/// What the receiver replied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// 2xx.
    Delivered,
    /// 410: the receiver does not want this message.
    Gone {
        /// The answer.
        error: PostError,
    },
    /// Anything else, or nothing.
    Failed {
        /// The answer, or why there was none.
        error: PostError,
        /// How long the receiver asks to be left alone.
        retry_after: Option<Duration>,
    },
}

/// Posts messages to `NOTIFY_URL`.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    guard: Guard,
    /// May contain a credential.
    url: Url,
    keys: SigningKeys,
    timeout: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("keys", &self.keys).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Client {
    /// A client for `url`. `timeout` covers a whole request.
    pub fn new(url: Url, keys: SigningKeys, timeout: Duration) -> Result<Self, reqwest::Error> {
        // The operator chose the URL, so http and private networks are allowed. Metadata services and the like are not.
        let guard = Guard::new(Vec::new(), true);
        let http = reqwest::Client::builder()
            .dns_resolver(GuardedResolver::new(guard.clone()))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("renderhook/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, guard, url, keys, timeout })
    }

    /// How long a request may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Posts a message, signed at `now`.
    pub async fn post(&self, message: &NotificationMessage, now: DateTime<Utc>) -> Reply {
        if let Err(rejection) = self.guard.check_url(&self.url) {
            return unsent(refused(rejection));
        }
        let deadline = Instant::now() + self.timeout;
        let request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", message.id.to_string())
            .header("webhook-timestamp", now.timestamp())
            .header("webhook-signature", self.keys.sign(message.id, now, &message.body))
            .body(message.body.clone());
        match timeout(self.timeout, request.send()).await {
            Err(_elapsed) => unsent(format!("no answer within {}", humantime::format_duration(self.timeout))),
            Ok(Err(error)) => unsent(why(&error.without_url())),
            Ok(Ok(response)) => reply(response, deadline).await,
        }
    }
}

fn unsent(error: String) -> Reply {
    Reply::Failed { error: PostError::unanswered(error), retry_after: None }
}

/// Why a request failed, without the URL.
fn why(error: &reqwest::Error) -> String {
    if let Some(rejection) = UrlRejection::cause_of(error) {
        return refused(rejection);
    }
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn refused(rejection: UrlRejection) -> String {
    match rejection {
        UrlRejection::PrivateAddress(kind) => format!("NOTIFY_URL leads to {kind}, where nothing is posted"),
        UrlRejection::InvalidUrl
        | UrlRejection::NotHttps
        | UrlRejection::UnsupportedScheme
        | UrlRejection::Userinfo
        | UrlRejection::HostNotAllowed
        | UrlRejection::TooManyRedirects
        | UrlRejection::InvalidRedirect => {
            "NOTIFY_URL must be an http or https URL without a user or password".to_owned()
        }
    }
}

/// Reads an answer, but not more of it than is kept. A body that does not end in time changes nothing about its status.
async fn reply(mut response: Response, deadline: Instant) -> Reply {
    let (status, retry_after) = (response.status(), retry_after(response.headers()));
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER_BYTES
        && let Ok(Ok(Some(chunk))) = timeout_at(deadline, response.chunk()).await
    {
        body.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER_BYTES - body.len())]);
    }
    if status.is_success() {
        return Reply::Delivered;
    }
    let error = post_error(status, &body);
    if status == StatusCode::GONE { Reply::Gone { error } } else { Reply::Failed { error, retry_after } }
}

/// The answer, on one line.
fn post_error(status: StatusCode, body: &[u8]) -> PostError {
    let answer = String::from_utf8_lossy(body).replace(|c: char| c.is_control(), " ");
    let explanation = if status.is_redirection() { ": redirects are not followed" } else { "" };
    PostError { reason: format!("HTTP {}{explanation}", status.as_u16()), answer: answer.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_text_on_one_line() {
        let text = |status, body: &[u8]| post_error(status, body).to_string();
        assert_eq!(text(StatusCode::BAD_GATEWAY, b""), "HTTP 502");
        assert_eq!(text(StatusCode::BAD_REQUEST, b"no\r\nway\0\xff "), "HTTP 400: no  way \u{fffd}");
        assert_eq!(text(StatusCode::FOUND, b""), "HTTP 302: redirects are not followed");
    }

    #[tokio::test]
    async fn nothing_is_posted_to_addresses_that_no_application_has() {
        let keys = SigningKeys::parse(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()]).unwrap();
        let message =
            NotificationMessage { id: crate::domain::NotificationId::new(uuid::Uuid::nil()), body: Vec::new() };
        for url in ["http://169.254.169.254/latest", "http://[fe80::1]/", "http://100.100.100.200/", "http://0.0.0.0/"]
        {
            let client = Client::new(url.parse().unwrap(), keys.clone(), Duration::from_secs(1)).unwrap();
            let Reply::Failed { error, .. } = client.post(&message, DateTime::UNIX_EPOCH).await else {
                panic!("{url}")
            };
            assert!(error.reason.starts_with("NOTIFY_URL leads to "), "{url}: {error}");
        }
    }
}
