//! Fetching: a file's bytes from where Magic Hour keeps them, under guard.
//!
//! [`Fetcher::open`] returns an [`Incoming`] whose chunks arrive as fast as they are taken; [`Fetcher::resume`] returns
//! one that starts where an earlier one broke off. Guaranteed: every URL, redirect and address on the way has passed
//! the [`Guard`]; a request carries nothing but the URL, no credential and no cookie; a server that stops sending is
//! cut off, a slow one is not; the end is reported only if the length is the announced one; bytes of two versions of
//! a file are never put together.
//!
//! Only the stored URL itself can be refused for good. What the network answers (a redirect, a DNS answer, a status)
//! may be different next time, so it is never more than a reason to try again.

pub mod address;
pub mod digest;
mod failure;
pub mod guard;
mod incoming;
pub mod resolve;

use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use reqwest::header::{ACCEPT_ENCODING, IF_RANGE, LOCATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::time::timeout;

pub use self::failure::Failure;
use self::guard::Guard;
pub(crate) use self::incoming::retry_after;
pub use self::incoming::{Framing, Incoming, Origin, ResumePoint, Resumption};
use self::resolve::{GuardedResolver, SystemNames};
use crate::domain::SignedUrl;

/// How long a connection may take to be made, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may take until it answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may be silent in the middle of a file.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// Fetches files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    guard: Guard,
    limits: Limits,
}

/// How much and how long at most.
#[derive(Debug, Clone, Copy)]
struct Limits {
    bytes: u64,
    answer: Duration,
    silence: Duration,
}

impl Fetcher {
    /// Fetches what `guard` lets pass, up to `max_bytes` a file.
    pub fn new(guard: Guard, max_bytes: u64) -> Result<Self, reqwest::Error> {
        Self::with_names(guard, max_bytes, Arc::new(SystemNames))
    }

    /// The same, with another source of names than the system's.
    fn with_names(guard: Guard, max_bytes: u64, names: Arc<dyn Resolve>) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .dns_resolver(GuardedResolver::over(guard.clone(), names))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            // One connection a file: streams that share one share its window, and the slowest holds the others up.
            .http1_only()
            .user_agent(concat!("renderhook/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            client,
            guard,
            limits: Limits { bytes: max_bytes, answer: ANSWER_TIMEOUT, silence: SILENCE_TIMEOUT },
        })
    }

    /// Replaces the timeouts for the answer and for silence in the middle of a file.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.limits = Limits { answer: timeout, silence: timeout, ..self.limits };
        self
    }

    /// Requests the file at `url`.
    pub async fn open(&self, url: &SignedUrl) -> Result<Incoming, Failure> {
        Incoming::whole(self.send(url, |request| request).await?, self.limits)
    }

    /// Requests the rest of the file at `url`.
    pub async fn resume(&self, url: &SignedUrl, from: &ResumePoint) -> Result<Resumption, Failure> {
        let rest = |request: RequestBuilder| {
            request.header(RANGE, format!("bytes={}-", from.offset)).header(IF_RANGE, &from.validator)
        };
        Incoming::rest(self.send(url, rest).await?, from, self.limits)
    }

    /// Sends a request, and follows redirects as far as the guard does.
    async fn send(
        &self,
        url: &SignedUrl,
        with_headers: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Failure> {
        let mut url = url.expose().clone();
        self.guard.judge_url(&url).map_err(Failure::stored_url)?;
        let mut hops = 0;
        loop {
            let request = with_headers(self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity"));
            let response = match timeout(self.limits.answer, request.send()).await {
                Ok(response) => response.map_err(Failure::transport)?,
                Err(_elapsed) => {
                    let message = format!("the server did not answer within {:?}", self.limits.answer);
                    return Err(Failure::transient("no_answer", message));
                }
            };
            if !redirects(response.status()) {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).map_or(&b""[..], |location| location.as_bytes());
            url = self.guard.follow(&url, location, hops).map_err(Failure::network)?;
            hops += 1;
        }
    }
}

/// Whether a status sends the client elsewhere. 300 leaves the choice to a person, and 304 answers a question that was
/// not asked: both are failures like any other.
fn redirects(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;

    use reqwest::dns::{Addrs, Name, Resolving};

    use super::*;

    /// Names that resolve to one answer.
    struct Names(fn() -> io::Result<Vec<SocketAddr>>);

    impl Resolve for Names {
        fn resolve(&self, _: Name) -> Resolving {
            let answer = (self.0)();
            Box::pin(async move { Ok(Box::new(answer?.into_iter()) as Addrs) })
        }
    }

    async fn failure(names: fn() -> io::Result<Vec<SocketAddr>>) -> Failure {
        let fetcher = Fetcher::with_names(Guard::new(Vec::new(), false), 1000, Arc::new(Names(names))).unwrap();
        let url = SignedUrl::parse("https://files.example/a.mp4?sig=hush").unwrap();
        fetcher.open(&url).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_dns_answer_that_is_refused_is_a_reason_to_try_again() {
        for names in [|| Ok(vec!["0.0.0.0:0".parse().unwrap()]), || Ok(vec!["10.0.0.1:0".parse().unwrap()])] {
            let Failure::Transient { reason, .. } = failure(names).await else { panic!("not transient") };
            assert_eq!(reason.code, "private_address");
        }
    }

    #[tokio::test]
    async fn running_out_of_descriptors_is_this_process_s_trouble() {
        let Failure::Local { reason } = failure(|| Err(rustix::io::Errno::MFILE.into())).await else {
            panic!("not local")
        };
        assert_eq!(reason.code, "too_many_open_files");
        assert!(!reason.message.contains("hush"), "{}", reason.message);
    }
}
