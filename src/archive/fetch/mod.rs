//! Fetching: a file's bytes from where Magic Hour keeps them, under guard.
//!
//! [`Fetcher::open`] gives an [`Incoming`] whose chunks come as fast as they are taken; [`Fetcher::go_on`] one that
//! starts where an earlier one broke off. Guaranteed: every URL, redirect and address on the way has passed the
//! [`Guard`]; nothing but the URL is sent along, no credential and no cookie; a server that stops sending is cut off
//! while a slow one is not; the end is told only where the length is the announced one; and bytes of two versions of a
//! file are never put together.

pub mod address;
pub mod digest;
pub mod guard;
mod incoming;
pub mod resolve;

use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, IF_RANGE, LOCATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use tokio::time::timeout;

use self::guard::{Guard, UrlRejection};
pub(crate) use self::incoming::retry_after;
pub use self::incoming::{Answered, Incoming, Origin, Resume};
use self::resolve::{GuardedResolver, refusal_in};
use crate::archive::queue::Reason;
use crate::domain::SignedUrl;

/// How long a connection may take to be made, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may think before it answers.
const HEAD: Duration = Duration::from_secs(30);
/// How long a server may be silent in the middle of a file.
const SILENCE: Duration = Duration::from_secs(30);

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
    /// The URL does not work any more: a fresh one may.
    Expired {
        /// What the server said.
        reason: Reason,
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

impl From<UrlRejection> for Failure {
    fn from(refusal: UrlRejection) -> Self {
        Self::permanent(refusal.code(), refusal.to_string())
    }
}

/// Fetches files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    guard: Guard,
    bounds: Bounds,
}

/// How much and how long at most.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    bytes: u64,
    head: Duration,
    silence: Duration,
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
        Ok(Self { client, guard, bounds: Bounds { bytes: max_bytes, head: HEAD, silence: SILENCE } })
    }

    /// With another patience than 30 s, both for the answer and for silence in the middle of a file.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.bounds = Bounds { head: patience, silence: patience, ..self.bounds };
        self
    }

    /// Asks for the file at `url`.
    pub async fn open(&self, url: &SignedUrl) -> Result<Incoming, Failure> {
        Incoming::whole(self.ask(url, |request| request).await?, self.bounds)
    }

    /// Asks for the rest of the file at `url`.
    pub async fn go_on(&self, url: &SignedUrl, resume: &Resume) -> Result<Answered, Failure> {
        let rest = |request: RequestBuilder| {
            request.header(RANGE, format!("bytes={}-", resume.offset)).header(IF_RANGE, &resume.validator)
        };
        Incoming::rest(self.ask(url, rest).await?, resume, self.bounds)
    }

    /// Asks, and follows redirects as far as the guard does.
    async fn ask(
        &self,
        url: &SignedUrl,
        dress: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Failure> {
        let mut url = url.expose().clone();
        self.guard.judge_url(&url)?;
        let mut hops = 0;
        loop {
            let request = dress(self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity"));
            let response = match timeout(self.bounds.head, request.send()).await {
                Ok(response) => response.map_err(broken)?,
                Err(_elapsed) => {
                    let message = format!("the server did not answer within {:?}", self.bounds.head);
                    return Err(Failure::transient("no_answer", message));
                }
            };
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).map_or(&b""[..], |location| location.as_bytes());
            url = self.guard.follow(&url, location, hops)?;
            hops += 1;
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
