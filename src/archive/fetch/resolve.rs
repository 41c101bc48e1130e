//! Resolves host names for the downloader's HTTP client, and judges what they resolve to: the half of the guard that
//! meets the network.
//!
//! A caller gets [`GuardedResolver`], to be given to `reqwest::ClientBuilder::dns_resolver`, and [`refusal_in`],
//! which tells a request that failed because the guard refused it (final) from one that failed because DNS or the
//! network did (worth another try).
//!
//! Guaranteed:
//! - The client gets the very addresses that were judged, so what was judged is what is dialled. There is no second
//!   look-up in between for a name that changes its answer (DNS rebinding).
//! - If one address of a name is refused, the name is refused. To drop that one and dial the others would leave the
//!   choice to whoever runs the name: public at one moment, inside at the next. An honest origin has no private
//!   address.
//! - A refusal arrives as the [`UrlRejection`] itself in the chain of causes, not as text.
//!
//! Where it does not reach, the client has to be built so that nothing goes there:
//! - An address that stands in the URL is dialled without asking any resolver: [`Guard::judge_url`] judges those.
//! - Redirects that the client follows by itself are not judged as URLs: `redirect(Policy::none())`, then
//!   [`Guard::follow`].
//! - With a proxy, the proxy resolves and dials, and only the proxy's own name comes here: `no_proxy()`, as the
//!   client otherwise takes one from the environment.
//! - `ClientBuilder::resolve` and its like answer before this resolver is asked.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::{fmt, io};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::guard::{Guard, UrlRejection};

/// A resolver that gives out only names all of whose addresses the guard lets through.
#[derive(Clone)]
pub struct GuardedResolver {
    guard: Guard,
    names: Arc<dyn Resolve>,
}

impl GuardedResolver {
    /// Judges what the system's resolver answers.
    #[must_use]
    pub fn new(guard: Guard) -> Self {
        Self::over(guard, Arc::new(System))
    }

    /// Judges what `names` answers: for another source of names than the system's.
    #[must_use]
    pub fn over(guard: Guard, names: Arc<dyn Resolve>) -> Self {
        Self { guard, names }
    }
}

impl fmt::Debug for GuardedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedResolver").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.guard.clone();
        let answer = self.names.resolve(name);
        Box::pin(async move {
            // Collected before the first is judged: the iterator may be lazy, and must not be asked twice.
            let found: Vec<SocketAddr> = answer.await?.collect();
            if found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no addresses").into());
            }
            for address in &found {
                guard.judge_address(address.ip())?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The refusal that made a request fail, if it was one.
///
/// Walks the chain of causes from `error` itself, also through [`io::Error`]s, which do not show the error that they
/// wrap as their source.
#[must_use]
pub fn refusal_in(error: &(dyn Error + 'static)) -> Option<UrlRejection> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refusal) = error.downcast_ref::<UrlRejection>() {
            return Some(*refusal);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// The system's resolver: `getaddrinfo`, so that `/etc/hosts`, search domains and DNS64 hold as everywhere else on
/// the machine.
struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // Port 0 stands for "the URL's".
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            // `lookup_host` borrows the name for as long as its iterator lives.
            let found: Vec<SocketAddr> = found.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use reqwest::Client;
    use reqwest::redirect::Policy;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket};

    use super::super::address::NonPublic;
    use super::*;

    fn production() -> Guard {
        Guard::new(Vec::new(), false)
    }

    fn development() -> Guard {
        Guard::new(Vec::new(), true)
    }

    fn client(resolver: GuardedResolver) -> Client {
        Client::builder().dns_resolver(resolver).redirect(Policy::none()).no_proxy().build().expect("a client")
    }

    fn ip(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().expect(text), 0)
    }

    /// Names as this test wants them: the n-th look-up gets the n-th answer, and one beyond the last gets none.
    struct Script {
        answers: Vec<Vec<SocketAddr>>,
        lookups: AtomicUsize,
    }

    impl Script {
        fn new(answers: &[&[&str]]) -> Arc<Self> {
            let answers = answers.iter().map(|answer| answer.iter().copied().map(ip).collect()).collect();
            Arc::new(Self { answers, lookups: AtomicUsize::new(0) })
        }
    }

    impl Resolve for Script {
        fn resolve(&self, _: Name) -> Resolving {
            let answer = self.answers.get(self.lookups.fetch_add(1, Ordering::SeqCst)).cloned();
            Box::pin(async move {
                let answer = answer.ok_or_else(|| io::Error::other("temporary failure in name resolution"))?;
                Ok(Box::new(answer.into_iter()) as Addrs)
            })
        }
    }

    /// A server on 127.0.0.1 that answers every connection with 200 and counts them.
    struct Origin {
        port: u16,
        connections: Arc<AtomicUsize>,
    }

    impl Origin {
        async fn start() -> Self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
            let port = listener.local_addr().expect("a bound address").port();
            let connections = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&connections);
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    counter.fetch_add(1, Ordering::SeqCst);
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => request.push(byte),
                            Err(_) => break,
                        }
                    }
                    // A client that has gone is no concern of the server's.
                    let _ =
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
                }
            });
            Self { port, connections }
        }

        fn url(&self, host: &str) -> String {
            format!("http://{host}:{}/output.mp4", self.port)
        }

        fn connections(&self) -> usize {
            self.connections.load(Ordering::SeqCst)
        }
    }

    async fn resolve(resolver: &GuardedResolver) -> Result<Vec<SocketAddr>, Option<UrlRejection>> {
        match resolver.resolve("files.example".parse().expect("a name")).await {
            Ok(addresses) => Ok(addresses.collect()),
            Err(error) => Err(refusal_in(&*error)),
        }
    }

    #[tokio::test]
    async fn localhost_is_refused_and_the_request_carries_the_refusal() {
        let origin = Origin::start().await;
        let client = client(GuardedResolver::new(production()));
        // Over https a TLS connector stands between the client and the error.
        for url in [origin.url("localhost"), origin.url("localhost").replace("http:", "https:")] {
            let error = client.get(url).send().await.expect_err("refused");
            assert_eq!(refusal_in(&error), Some(UrlRejection::PrivateAddress(NonPublic::Loopback)));
            assert_eq!(refusal_in(&error.without_url()).map(UrlRejection::code), Some("private_address"));
        }
        assert_eq!(origin.connections(), 0);
    }

    #[tokio::test]
    async fn localhost_is_reached_in_development() {
        let origin = Origin::start().await;
        let response =
            client(GuardedResolver::new(development())).get(origin.url("localhost")).send().await.expect("reached");
        assert_eq!(response.status(), 200);
        assert_eq!(origin.connections(), 1);
    }

    #[tokio::test]
    async fn an_address_in_the_url_is_never_put_to_the_resolver() {
        let origin = Origin::start().await;
        let names = Script::new(&[]);
        let response =
            client(GuardedResolver::over(production(), names.clone())).get(origin.url("127.0.0.1")).send().await;
        // What `Guard::judge_url` is needed for: without it, this is reached.
        assert_eq!(response.expect("reached").status(), 200);
        assert_eq!(names.lookups.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn the_address_that_was_judged_is_the_one_that_is_dialled() {
        let origin = Origin::start().await;
        // The second answer would be refused, and a name that no DNS knows is reached only by the answer that was
        // judged.
        let names = Script::new(&[&["127.0.0.1"], &["169.254.169.254"]]);
        let client = client(GuardedResolver::over(development(), names.clone()));
        let response = client.get(origin.url("files.example")).send().await.expect("reached");
        assert_eq!(response.status(), 200);
        assert_eq!(names.lookups.load(Ordering::SeqCst), 1);

        let error =
            client.get(origin.url("files.example")).send().await.expect_err("judged again for a new connection");
        assert_eq!(refusal_in(&error), Some(UrlRejection::PrivateAddress(NonPublic::CloudMetadata)));
        assert_eq!(origin.connections(), 1);
    }

    #[tokio::test]
    async fn a_name_with_one_refused_address_is_refused_wherever_it_stands() {
        for answer in [&["8.8.8.8", "10.0.0.1"], &["10.0.0.1", "8.8.8.8"], &["2606:4700:4700::1111", "::ffff:10.0.0.1"]]
        {
            let resolver = GuardedResolver::over(production(), Script::new(&[answer]));
            assert_eq!(
                resolve(&resolver).await,
                Err(Some(UrlRejection::PrivateAddress(NonPublic::Private))),
                "{answer:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_refused_address_keeps_an_allowed_one_from_being_dialled() {
        let origin = Origin::start().await;
        let names = Script::new(&[&["127.0.0.1", "169.254.169.254"]]);
        let error = client(GuardedResolver::over(development(), names)).get(origin.url("files.example")).send().await;
        assert_eq!(
            refusal_in(&error.expect_err("refused")),
            Some(UrlRejection::PrivateAddress(NonPublic::CloudMetadata))
        );
        assert_eq!(origin.connections(), 0);
    }

    #[tokio::test]
    async fn public_addresses_are_handed_on_as_they_are_and_in_their_order() {
        let answer = ["8.8.8.8", "2606:4700:4700::1111", "1.1.1.1"];
        let resolver = GuardedResolver::over(production(), Script::new(&[&answer]));
        assert_eq!(resolve(&resolver).await, Ok(answer.map(ip).to_vec()));
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_no_refusal() {
        // A label longer than DNS allows fails on this machine, without a question to any network.
        let url = format!("http://{}.invalid/output.mp4", "a".repeat(64));
        let error = client(GuardedResolver::new(production())).get(url).send().await.expect_err("no such name");
        assert_eq!(refusal_in(&error), None);
        assert!(error.is_connect() && error.is_dns(), "{error:?}");
    }

    #[tokio::test]
    async fn a_failed_look_up_and_a_name_without_addresses_are_no_refusals() {
        for answers in [&[][..], &[&[][..]]] {
            let names = Script::new(answers);
            let error = client(GuardedResolver::over(production(), names)).get("http://files.example/").send().await;
            let error = error.expect_err("no address");
            assert_eq!(refusal_in(&error), None);
            assert!(error.is_connect() && error.is_dns(), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_not_accepted_is_no_refusal() {
        // Bound for as long as the test runs, so that the port is nobody else's, and not listening, so that nobody
        // answers there.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let port = socket.local_addr().expect("a bound address").port();
        let names = Script::new(&[&["127.0.0.1"]]);
        let error = client(GuardedResolver::over(development(), names))
            .get(format!("http://files.example:{port}/"))
            .send()
            .await;
        let error = error.expect_err("nobody listens");
        assert_eq!(refusal_in(&error), None);
        assert!(error.is_connect() && !error.is_dns(), "{error:?}");
    }

    #[test]
    fn a_refusal_is_found_bare_and_inside_io_errors() {
        let refusal = UrlRejection::PrivateAddress(NonPublic::Loopback);
        assert_eq!(refusal_in(&refusal), Some(refusal));
        assert_eq!(refusal_in(&io::Error::other(refusal)), Some(refusal));
        assert_eq!(refusal_in(&io::Error::other(io::Error::other(refusal))), Some(refusal));
        assert_eq!(refusal_in(&io::Error::other("anything else")), None);
        assert_eq!(refusal_in(&io::Error::from_raw_os_error(111)), None);
    }

    #[test]
    fn a_literal_address_given_to_the_resolver_is_judged_all_the_same() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let answer = runtime.block_on(GuardedResolver::new(production()).resolve("127.0.0.1".parse().expect("a name")));
        let error = answer
            .map(|addresses| addresses.map(|address| address.ip()).collect::<Vec<IpAddr>>())
            .expect_err("refused");
        assert_eq!(refusal_in(&*error), Some(UrlRejection::PrivateAddress(NonPublic::Loopback)));
    }
}
