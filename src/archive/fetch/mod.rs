//! Fetches files from Magic Hour's servers.
//!
//! [`Fetcher::open`] returns an [`Incoming`], which reads chunks only as fast as they are consumed. [`Fetcher::resume`] returns
//! one that continues an interrupted transfer.
//!
//! Guaranteed:
//! - The [`Guard`] checks every URL, redirect, and address.
//! - Requests contain no credentials except the URL itself, and no cookies.
//! - A server that stops sending is cut off, but a slow one is not.
//! - A transfer only succeeds with the announced length. Bytes of two versions of a file are never combined.
//!
//! Only the stored URL itself can be rejected permanently. Redirects, DNS answers, and statuses may be different next time, so
//! they only cause a retry.

mod address;
mod digest;
mod error_chain;
mod failure;
mod guard;
mod incoming;
mod resolve;

use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use reqwest::header::{ACCEPT_ENCODING, IF_RANGE, LOCATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::time::timeout;

pub(super) use self::digest::Hashes;
pub use self::failure::Failure;
pub use self::guard::{Guard, HostSuffix, UrlRejection};
pub(super) use self::incoming::{Incoming, Origin, ResumePoint, Resumption};
pub use self::resolve::GuardedResolver;
use self::resolve::SystemNames;
use crate::domain::SignedUrl;

/// The time limit for connecting, including TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The time limit until the server's answer begins.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The time limit without any bytes in the middle of a file.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// Fetches files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    guard: Guard,
    limits: FetchLimits,
}

/// Limits of size and time.
#[derive(Debug, Clone, Copy)]
struct FetchLimits {
    bytes: u64,
    answer: Duration,
    silence: Duration,
}

impl Fetcher {
    /// Fetches what `guard` allows, up to `max_bytes` per file.
    pub fn new(guard: Guard, max_bytes: u64) -> Result<Self, reqwest::Error> {
        Self::with_names(guard, max_bytes, Arc::new(SystemNames))
    }

    /// Like [`Self::new`], with another resolver than the system's.
    fn with_names(guard: Guard, max_bytes: u64, names: Arc<dyn Resolve>) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .dns_resolver(GuardedResolver::over(guard.clone(), names))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            // One connection per file, because the slowest stream on a shared connection would block the others.
            .http1_only()
            .user_agent(concat!("renderhook/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            client,
            guard,
            limits: FetchLimits { bytes: max_bytes, answer: ANSWER_TIMEOUT, silence: SILENCE_TIMEOUT },
        })
    }

    /// Replaces the timeouts for the answer and for silence in the middle of a file.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.limits = FetchLimits { answer: timeout, silence: timeout, ..self.limits };
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

    /// Sends a request, and follows redirects if the guard allows it.
    async fn send(
        &self,
        url: &SignedUrl,
        with_headers: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Failure> {
        let mut url = url.expose().clone();
        self.guard.check_url(&url).map_err(Failure::stored_url)?;
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
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).map_or(&b""[..], |location| location.as_bytes());
            url = self.guard.follow(&url, location, hops).map_err(Failure::network)?;
            hops += 1;
        }
    }
}

/// Whether to follow `Location`. 300 needs a person's choice, and 304 answers a conditional request, so both are failures.
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;

    use reqwest::dns::{Addrs, Name, Resolving};

    use super::*;

    /// A resolver with the same answer for every name.
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
    async fn a_rejected_dns_answer_causes_a_retry() {
        for names in [|| Ok(vec!["0.0.0.0:0".parse().unwrap()]), || Ok(vec!["10.0.0.1:0".parse().unwrap()])] {
            let Failure::Transient { reason, .. } = failure(names).await else { panic!("not transient") };
            assert_eq!(reason.code, "private_address");
        }
    }

    #[tokio::test]
    async fn running_out_of_descriptors_is_a_local_failure() {
        let Failure::Local { reason } = failure(|| Err(rustix::io::Errno::MFILE.into())).await else {
            panic!("not local")
        };
        assert_eq!(reason.code, "too_many_open_files");
        assert!(!reason.message.contains("hush"), "{}", reason.message);
    }
}
