//! Resolves host names for the downloader's HTTP client and checks the addresses.
//!
//! [`GuardedResolver`] goes into `reqwest::ClientBuilder::dns_resolver`. [`UrlRejection::cause_of`] finds out whether a request
//! failed because the guard rejected an address, rather than because DNS or the network failed.
//!
//! Guaranteed:
//! - The client connects to the addresses that were checked. There is no second lookup that could return others (DNS
//!   rebinding).
//! - If one address of a name is rejected, the whole name is rejected. An honest origin has no private addresses.
//! - A rejection arrives as the [`UrlRejection`] itself in the chain of causes, not as text.
//!
//! The client must be built so that nothing bypasses this resolver:
//! - IP addresses in URLs need no lookup. [`Guard::check_url`] checks them.
//! - Redirects followed by the client would not be checked: use `redirect(Policy::none())` and [`Guard::follow`].
//! - A proxy would resolve names itself: use `no_proxy()`, because the client otherwise takes one from the environment.
//! - `ClientBuilder::resolve` and similar settings take precedence over this resolver.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::{fmt, io};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::error_chain::chain;
use super::guard::{Guard, UrlRejection};

/// A resolver that answers only if the guard admits every address of the name.
#[derive(Clone)]
pub struct GuardedResolver {
    guard: Guard,
    names: Arc<dyn Resolve>,
}

impl GuardedResolver {
    /// Checks what the system's resolver answers.
    #[must_use]
    pub fn new(guard: Guard) -> Self {
        Self::over(guard, Arc::new(SystemNames))
    }

    /// Checks what `names` answers, instead of the system's resolver.
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
            // Collected first, because the iterator may be lazy and must not run twice.
            let found: Vec<SocketAddr> = answer.await?.collect();
            if found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no addresses").into());
            }
            for address in &found {
                guard.check_address(address.ip())?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl UrlRejection {
    /// The rejection that caused an error, if any.
    #[must_use]
    pub fn cause_of(error: &(dyn Error + 'static)) -> Option<Self> {
        chain(error).find_map(|cause| cause.downcast_ref::<Self>().copied())
    }
}

/// The system's resolver: `getaddrinfo`, so that `/etc/hosts`, search domains and DNS64 apply as everywhere else on
/// the machine.
pub(super) struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // Port 0 means the port of the URL.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            // Collected, because the iterator borrows the name.
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

    /// A resolver whose n-th lookup returns the n-th answer. Lookups after the last one fail.
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
    struct TestServer {
        port: u16,
        connections: Arc<AtomicUsize>,
    }

    impl TestServer {
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
                    // OK to ignore a client that has gone.
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
            Err(error) => Err(UrlRejection::cause_of(&*error)),
        }
    }

    #[tokio::test]
    async fn localhost_is_rejected_and_the_request_s_error_carries_the_rejection() {
        let origin = TestServer::start().await;
        let client = client(GuardedResolver::new(production()));
        // Over https a TLS connector stands between the client and the error.
        for url in [origin.url("localhost"), origin.url("localhost").replace("http:", "https:")] {
            let error = client.get(url).send().await.expect_err("rejected");
            assert_eq!(UrlRejection::cause_of(&error), Some(UrlRejection::PrivateAddress(NonPublic::Loopback)));
            assert_eq!(UrlRejection::cause_of(&error.without_url()).map(UrlRejection::code), Some("private_address"));
        }
        assert_eq!(origin.connections(), 0);
    }

    #[tokio::test]
    async fn localhost_is_reached_in_development() {
        let origin = TestServer::start().await;
        let response =
            client(GuardedResolver::new(development())).get(origin.url("localhost")).send().await.expect("reached");
        assert_eq!(response.status(), 200);
        assert_eq!(origin.connections(), 1);
    }

    #[tokio::test]
    async fn an_address_in_the_url_never_reaches_the_resolver() {
        let origin = TestServer::start().await;
        let names = Script::new(&[]);
        let response =
            client(GuardedResolver::over(production(), names.clone())).get(origin.url("127.0.0.1")).send().await;
        // This is why `Guard::check_url` exists: without it, this address is reached.
        assert_eq!(response.expect("reached").status(), 200);
        assert_eq!(names.lookups.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn the_address_that_was_checked_is_the_one_that_is_dialed() {
        let origin = TestServer::start().await;
        // The second answer would be rejected. DNS does not know the name, so it is reached only by the first answer.
        let names = Script::new(&[&["127.0.0.1"], &["169.254.169.254"]]);
        let client = client(GuardedResolver::over(development(), names.clone()));
        let response = client.get(origin.url("files.example")).send().await.expect("reached");
        assert_eq!(response.status(), 200);
        assert_eq!(names.lookups.load(Ordering::SeqCst), 1);

        let error =
            client.get(origin.url("files.example")).send().await.expect_err("checked again for a new connection");
        assert_eq!(UrlRejection::cause_of(&error), Some(UrlRejection::PrivateAddress(NonPublic::CloudMetadata)));
        assert_eq!(origin.connections(), 1);
    }

    #[tokio::test]
    async fn a_name_with_one_rejected_address_is_rejected_in_any_order() {
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
    async fn a_rejected_address_keeps_an_admitted_one_from_being_dialed() {
        let origin = TestServer::start().await;
        let names = Script::new(&[&["127.0.0.1", "169.254.169.254"]]);
        let error = client(GuardedResolver::over(development(), names)).get(origin.url("files.example")).send().await;
        assert_eq!(
            UrlRejection::cause_of(&error.expect_err("rejected")),
            Some(UrlRejection::PrivateAddress(NonPublic::CloudMetadata))
        );
        assert_eq!(origin.connections(), 0);
    }

    #[tokio::test]
    async fn public_addresses_are_passed_on_unchanged_and_in_order() {
        let answer = ["8.8.8.8", "2606:4700:4700::1111", "1.1.1.1"];
        let resolver = GuardedResolver::over(production(), Script::new(&[&answer]));
        assert_eq!(resolve(&resolver).await, Ok(answer.map(ip).to_vec()));
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_not_a_rejection() {
        // A label longer than DNS allows fails on this machine, without a request to the network.
        let url = format!("http://{}.invalid/output.mp4", "a".repeat(64));
        let error = client(GuardedResolver::new(production())).get(url).send().await.expect_err("no such name");
        assert_eq!(UrlRejection::cause_of(&error), None);
        assert!(error.is_connect() && error.is_dns(), "{error:?}");
    }

    #[tokio::test]
    async fn a_failed_lookup_and_a_name_without_addresses_are_not_rejections() {
        for answers in [&[][..], &[&[][..]]] {
            let names = Script::new(answers);
            let error = client(GuardedResolver::over(production(), names)).get("http://files.example/").send().await;
            let error = error.expect_err("no address");
            assert_eq!(UrlRejection::cause_of(&error), None);
            assert!(error.is_connect() && error.is_dns(), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_not_accepted_is_not_a_rejection() {
        // Bound while the test runs, so that no other program takes the port, but not listening.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let port = socket.local_addr().expect("a bound address").port();
        let names = Script::new(&[&["127.0.0.1"]]);
        let error = client(GuardedResolver::over(development(), names))
            .get(format!("http://files.example:{port}/"))
            .send()
            .await;
        let error = error.expect_err("nobody listens");
        assert_eq!(UrlRejection::cause_of(&error), None);
        assert!(error.is_connect() && !error.is_dns(), "{error:?}");
    }

    #[test]
    fn a_rejection_is_found_by_itself_and_inside_io_errors() {
        let rejection = UrlRejection::PrivateAddress(NonPublic::Loopback);
        assert_eq!(UrlRejection::cause_of(&rejection), Some(rejection));
        assert_eq!(UrlRejection::cause_of(&io::Error::other(rejection)), Some(rejection));
        assert_eq!(UrlRejection::cause_of(&io::Error::other(io::Error::other(rejection))), Some(rejection));
        assert_eq!(UrlRejection::cause_of(&io::Error::other("anything else")), None);
        assert_eq!(UrlRejection::cause_of(&io::Error::from_raw_os_error(111)), None);
    }

    #[test]
    fn a_literal_address_that_reaches_the_resolver_is_checked_too() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let answer = runtime.block_on(GuardedResolver::new(production()).resolve("127.0.0.1".parse().expect("a name")));
        let error = answer
            .map(|addresses| addresses.map(|address| address.ip()).collect::<Vec<IpAddr>>())
            .expect_err("rejected");
        assert_eq!(UrlRejection::cause_of(&*error), Some(UrlRejection::PrivateAddress(NonPublic::Loopback)));
    }
}
