//! The server: connections in, each held to its deadlines, and drained at the end.
//!
//! axum's own `serve` puts no bound on how long a request's head may take or how many connections there are. Here a
//! head that dawdles is cut off, an idle connection is closed, and beyond 4096 connections the next one waits.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use crate::runtime::Shutdown;

/// How long a request's head may take, and how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(15);
/// The largest head. Magic Hour's are below a kilobyte.
const HEAD_BYTES: usize = 32 << 10;
/// Connections at once.
const CONNECTIONS: usize = 4096;
/// How long to wait when the machine has no file descriptor for another connection.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Serves until it is time to stop, then accepts no more; what was accepted belongs to the shutdown's tasks.
pub async fn serve(listener: TcpListener, router: Router, shutdown: &Shutdown) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = shutdown.stopping() => return,
            accepted = accept(&listener, &room) => accepted,
        };
        let Ok((stream, permit)) = accepted else {
            tokio::time::sleep(EXHAUSTED).await;
            continue;
        };
        let (router, stop) = (router.clone(), shutdown.clone());
        shutdown.tasks().spawn(async move {
            connection(stream, router, &stop).await;
            drop(permit);
        });
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _peer) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection(stream: TcpStream, router: Router, shutdown: &Shutdown) {
    // OK to go on without: it only saves a small answer a moment.
    let _ = stream.set_nodelay(true);
    let service = router.map_request(|request: Request<Incoming>| request.map(Body::new));
    let service = TowerToHyperService::new(service.map_err(|never: Infallible| match never {}));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    // A connection's errors are its peer's: cut off, no HTTP, too slow. There is nobody to answer.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = shutdown.stopping() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = connection => {}
        () = shutdown.deadline().cancelled() => {}
    }
}
