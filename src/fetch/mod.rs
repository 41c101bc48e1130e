//! Fetching: a file's bytes from where Magic Hour keeps them, under guard.
//!
//! [`Fetcher::open`] gives an [`Incoming`] whose chunks come as fast as they are taken. Guaranteed: every URL, redirect
//! and address on the way has passed the [`Guard`]; nothing but the URL is sent along, no credential and
//! no cookie; a server that stops sending is cut off while a slow one is not; and the end is told only where the length
//! is the announced one.

pub mod address;
pub mod guard;
pub mod resolve;

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use tokio::time::timeout;
use url::Url;

use self::guard::{Guard, Refusal};
use self::resolve::{GuardedResolver, refusal_in};
use crate::event::SignedUrl;
use crate::queue::Reason;

/// How long a connection may take to be made, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may think before it answers.
const HEAD: Duration = Duration::from_secs(30);
/// How long a server may be silent in the middle of a file.
const SILENCE: Duration = Duration::from_secs(30);
/// A server that asks for more patience than this is asked earlier all the same: the URLs expire.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Why a file did not come, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Another attempt may succeed, not before `after` where the server said so.
    Transient {
        /// What happened.
        reason: Reason,
        /// How long the server wants to be left alone.
        after: Option<Duration>,
    },
    /// No attempt can succeed before a person changes something.
    Permanent {
        /// What has to change.
        reason: Reason,
    },
}

impl Failure {
    pub(crate) fn transient(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Transient { reason: Reason { code: code.into(), message: message.into() }, after: None }
    }

    pub(crate) fn permanent(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Permanent { reason: Reason { code: code.into(), message: message.into() } }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::permanent(refusal.code(), refusal.to_string())
    }
}

/// Fetches files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    guard: Guard,
    max_bytes: u64,
}

impl Fetcher {
    /// Fetches what `guard` lets pass, up to `max_bytes` a file.
    pub fn new(guard: Guard, max_bytes: u64) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .dns_resolver(GuardedResolver::new(guard.clone()))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT)
            // One connection a file: streams that share one share its window, and the slowest holds the others up.
            .http1_only()
            .user_agent(concat!("renderhook/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, guard, max_bytes })
    }

    /// Asks for the file at `url` and follows redirects as far as the guard does.
    pub async fn open(&self, url: &SignedUrl) -> Result<Incoming, Failure> {
        let mut url = url.expose().clone();
        self.guard.judge_url(&url)?;
        for hops in 0.. {
            let response = self.ask(&url).await?;
            if !response.status().is_redirection() {
                return Incoming::of(response, self.max_bytes);
            }
            let location = response.headers().get(LOCATION).map_or(&b""[..], |location| location.as_bytes());
            url = self.guard.follow(&url, location, hops)?;
        }
        unreachable!("the guard follows a bounded number of redirects")
    }

    async fn ask(&self, url: &Url) -> Result<Response, Failure> {
        let request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        match timeout(HEAD, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(broken(error)),
            Err(_elapsed) => Err(Failure::transient("no_answer", "the server did not answer within 30 s")),
        }
    }
}

/// A transport's error, without the URL that it carries.
fn broken(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if let Some(refusal) = refusal_in(&error) {
        return refusal.into();
    }
    let code = if error.is_connect() {
        "connect_failed"
    } else if error.is_timeout() {
        "timed_out"
    } else {
        "broken_off"
    };
    Failure::transient(code, causes(&error))
}

/// An error and its causes on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// A file on its way.
#[derive(Debug)]
pub struct Incoming {
    response: Response,
    announced: Option<u64>,
    received: u64,
    max_bytes: u64,
}

impl Incoming {
    fn of(response: Response, max_bytes: u64) -> Result<Self, Failure> {
        if response.status() != StatusCode::OK {
            return Err(refused(&response));
        }
        if let Some(encoding) = response.headers().get(CONTENT_ENCODING).filter(|it| it.as_bytes() != b"identity") {
            let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
            return Err(Failure::transient("encoded", format!("the server encoded the file ({encoding:.40})")));
        }
        let announced = response.content_length();
        let incoming = Self { response, announced, received: 0, max_bytes };
        incoming.bounded(announced.unwrap_or_default())?;
        Ok(incoming)
    }

    /// What the server says it is.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.response.headers().get(CONTENT_TYPE)?.to_str().ok()
    }

    /// The next bytes; `None` once the whole file has come.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let chunk = timeout(SILENCE, self.response.chunk()).await;
        let chunk = chunk.map_err(|_elapsed| {
            Failure::transient("stalled", format!("the server fell silent for 30 s after {} bytes", self.received))
        })?;
        let Some(chunk) = chunk.map_err(broken)? else {
            return self.ended();
        };
        self.received += chunk.len() as u64;
        self.bounded(self.received)?;
        Ok(Some(chunk))
    }

    fn bounded(&self, bytes: u64) -> Result<(), Failure> {
        if bytes <= self.max_bytes {
            return Ok(());
        }
        let message = format!("the file has {bytes} bytes or more, DOWNLOAD_MAX_BYTES allows {}", self.max_bytes);
        Err(Failure::permanent("too_large", message))
    }

    fn ended(&self) -> Result<Option<Bytes>, Failure> {
        match self.announced {
            Some(announced) if announced != self.received => {
                let message = format!("the server announced {announced} bytes and sent {}", self.received);
                Err(Failure::transient("wrong_length", message))
            }
            _ => Ok(None),
        }
    }
}

fn refused(response: &Response) -> Failure {
    let status = response.status();
    let message = match status.as_u16() {
        400 | 401 | 403 | 404 | 410 => format!("the server answered {status}: the URL has probably expired"),
        _ => format!("the server answered {status}"),
    };
    let reason = Reason { code: format!("http_{}", status.as_u16()), message };
    Failure::Transient { reason, after: retry_after(response.headers()) }
}

/// `Retry-After` in seconds; its other form, a date, needs a clock that agrees with the server's and is left alone.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}
