//! The HTTP server: accepts connections, enforces their limits, and drains them at shutdown.
//!
//! axum's `serve` limits neither the time for a request head or an answer nor the number of connections. Here,
//! [`Connections`] limits their number and decides which one is closed for another, and [`TimedStream`] enforces time
//! limits.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use super::connections::{ConnectionKind, ConnectionPlace, Connections, RequestGuard};
use super::limits::Limits;
use super::peer::PeerAddress;
use super::timed_stream::TimedStream;
use crate::runtime::Shutdown;

/// How long to wait if the system has no file descriptor for another connection.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// An extension of requests on reserved connections, which only serve health checks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReservedConnection;

/// Accepts connections until a stop is requested. Each connection is a task of `shutdown`.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: &Shutdown) {
    let (connections, limits) = (Connections::new(&limits), Arc::new(limits));
    let accept = async || {
        let (stream, peer) = listener.accept().await?;
        Ok::<_, std::io::Error>((stream, PeerAddress(peer.ip()), connections.acquire().await))
    };
    loop {
        let accepted = tokio::select! {
            () = shutdown.wait_for_stop() => return,
            accepted = accept() => accepted,
        };
        let Ok((stream, peer, place)) = accepted else {
            tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
            continue;
        };
        set_options(&stream, limits.write_timeout);
        let (router, limits, stop) = (router.clone(), limits.clone(), shutdown.clone());
        shutdown.tasks().spawn(async move { connection(stream, peer, Arc::new(place), router, &limits, &stop).await });
    }
}

/// Sets what the system does for a connection. OK to ignore errors: the connection works without.
fn set_options(stream: &TcpStream, write_timeout: Duration) {
    // Makes small answers a little faster.
    let _ = stream.set_nodelay(true);
    // A client that has vanished is noticed by what it does not acknowledge, such as a stream's heartbeat.
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(write_timeout.as_millis()).unwrap_or(u32::MAX);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, millis);
    }
}

async fn connection<S>(
    stream: S,
    peer: PeerAddress,
    place: Arc<ConnectionPlace>,
    router: Router,
    limits: &Limits,
    shutdown: &Shutdown,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TimedStream::new(stream, place.clone(), limits);
    let answering = place.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        answer(router.clone(), request, answering.clone())
    });
    let mut connection = pin!(
        http1::Builder::new()
            .keep_alive(place.kind() == ConnectionKind::Regular)
            .max_buf_size(limits.head_bytes)
            .max_header_size(limits.head_bytes)
            .serve_connection(TokioIo::new(stream), service)
    );
    // OK to ignore errors: they are caused by the client (disconnected, not HTTP, too slow), and nobody is left to answer.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = place.wait_for_eviction() => return,
        () = shutdown.wait_for_stop() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = connection => {}
        () = shutdown.forced().cancelled() => {}
    }
}

async fn answer(
    router: Router,
    mut request: Request<Incoming>,
    place: Arc<ConnectionPlace>,
) -> Result<Response<ServedBody>, Infallible> {
    let serving = place.begin_request();
    match place.kind() {
        ConnectionKind::Regular => {}
        ConnectionKind::Reserved => {
            request.extensions_mut().insert(ReservedConnection);
        }
    }
    let response = router.oneshot(request.map(Body::new)).await?;
    Ok(response.map(|body| ServedBody { body, _serving: serving }))
}

/// The body of an answer. The request counts as in progress until hyper drops it.
struct ServedBody {
    body: Body,
    _serving: RequestGuard,
}

impl HttpBody for ServedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::task::JoinHandle;
    use tokio::time::{Instant, sleep};

    use super::*;

    const PEER: PeerAddress = PeerAddress(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    const PING: &str = "GET /ping HTTP/1.1\r\nhost: h\r\n\r\n";
    const LARGE: &str = "GET /large HTTP/1.1\r\nhost: h\r\n\r\n";

    /// Returns the client's end of a connection with 64 KiB of buffers, and the task that serves it. The task returns how many
    /// seconds the connection lasted.
    fn connect(limits: Limits) -> (DuplexStream, JoinHandle<u64>) {
        let large = || async { vec![b'x'; 1 << 20] };
        let answers_late = || async { sleep(Duration::from_hours(1)).await };
        let routes = Router::new()
            .route("/ping", get(|| async { "pong" }))
            .route("/large", get(large))
            .route("/slow", get(answers_late));
        let (client, server) = tokio::io::duplex(64 << 10);
        let task = tokio::spawn(async move {
            let (begun, place) = (Instant::now(), Connections::new(&limits).acquire().await);
            connection(server, PEER, Arc::new(place), routes, &limits, &Shutdown::default()).await;
            begun.elapsed().as_secs()
        });
        (client, task)
    }

    /// Sends `request` and reads an answer that ends with `end`.
    async fn exchange(client: &mut DuplexStream, request: &str, end: &str) -> String {
        // OK to fail: the server may answer before it has read everything.
        let _ = client.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        while !answer.ends_with(end.as_bytes()) {
            answer.push(client.read_u8().await.unwrap());
        }
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_and_a_slow_head_time_out() {
        let (_client, served) = connect(Limits::default());
        assert_eq!(served.await.unwrap(), 15);

        let (mut client, served) = connect(Limits::default());
        // A byte every second does not extend the deadline.
        let dribble = async {
            for byte in PING.bytes().cycle() {
                if client.write_u8(byte.max(b'a')).await.is_err() {
                    break;
                }
                sleep(Duration::from_secs(1)).await;
            }
        };
        assert_eq!(tokio::join!(served, dribble).0.unwrap(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_may_be_idle_longer_than_load_balancers_allow() {
        let (mut client, served) = connect(Limits::default());
        for _ in 0..3 {
            exchange(&mut client, PING, "pong").await;
            sleep(Duration::from_secs(610)).await;
        }
        // Once a head has begun, the rest must follow soon.
        client.write_all(b"GET /").await.unwrap();
        assert_eq!(served.await.unwrap(), 3 * 610 + 15);

        let (mut client, served) = connect(Limits::default());
        exchange(&mut client, PING, "pong").await;
        assert_eq!(served.await.unwrap(), 620);
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_sets_no_deadline_for_a_request_in_progress() {
        let (mut client, _served) = connect(Limits::default());
        let answer = exchange(&mut client, "GET /slow HTTP/1.1\r\nhost: h\r\n\r\n", "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_disconnected() {
        let (mut client, served) = connect(Limits::default());
        client.write_all(LARGE.as_bytes()).await.unwrap();
        assert_eq!(served.await.unwrap(), 30);

        // Many small unread answers fill the buffers, too.
        let (mut client, served) = connect(Limits::default());
        let pipeline = async { while client.write_all(PING.as_bytes()).await.is_ok() {} };
        assert_eq!(tokio::join!(served, pipeline).0.unwrap(), 30);
    }

    /// As when the client's machine or network is gone: its system acknowledges nothing, here because it has no room left.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_system_ends_a_connection_whose_client_has_vanished() {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        set_options(&server, Duration::from_millis(100));
        let write = async {
            loop {
                if let Err(error) = server.write_all(&[0; 8 << 10]).await {
                    return error.kind();
                }
            }
        };
        let ended = tokio::time::timeout(Duration::from_mins(1), write).await;
        assert_eq!(ended.expect("without the option, it would never end"), std::io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_that_keeps_reading_gets_its_answer() {
        let (mut client, _served) = connect(Limits::default());
        client.write_all(LARGE.as_bytes()).await.unwrap();
        let (mut taken, mut part) = (0, vec![0; 32 << 10]);
        while taken < 1 << 20 {
            sleep(Duration::from_secs(25)).await;
            let length = client.read(&mut part).await.unwrap();
            assert!(length > 0, "disconnected after {taken} bytes");
            taken += length;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_evicted_connection_ends_at_once() {
        let limits = Limits { connections: 1, reserved_connections: 0, ..Limits::default() };
        let connections = Connections::new(&limits);
        let (_client, server) = tokio::io::duplex(64);
        let place = Arc::new(connections.acquire().await);
        let shutdown = Shutdown::default();
        let first = connection(server, PEER, place, Router::new(), &limits, &shutdown);
        let begun = Instant::now();
        tokio::join!(first, connections.acquire());
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn error_responses_of_hyper_look_like_ours() {
        let many_headers = format!("GET / HTTP/1.1\r\nhost: h\r\n{}\r\n", "a: b\r\n".repeat(101));
        let long_head = format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(40 << 10));
        let long_address = format!("GET /{} HTTP/1.1\r\n", "x".repeat(40 << 10));
        let table = [
            ("\x16\x03\x01\r\n\r\n", "400 Bad Request"),
            ("GET / HTTP/9.9\r\n\r\n", "400 Bad Request"),
            ("POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", "400 Bad Request"),
            (&many_headers, "431 Request Header Fields Too Large"),
            (&long_head, "431 Request Header Fields Too Large"),
            (&long_address, "431 Request Header Fields Too Large"),
        ];
        for (request, status) in table {
            // As the second request on a connection, and as the first.
            for before in [true, false] {
                let (mut client, _served) = connect(Limits::default());
                if before {
                    exchange(&mut client, PING, "pong").await;
                }
                let answer = exchange(&mut client, request, "\"}").await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
                assert!(answer.contains("x-request-id: ") && answer.contains("{\"message\":\""), "{answer}");
                assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "the connection ends");
            }
        }
    }
}
