//! HTTP connections that a handler can close without an answer.

use std::convert::Infallible;
use std::io;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tower::ServiceExt;

/// An extension of a response: the response is not sent, and the connection is closed instead.
#[derive(Debug, Clone, Copy)]
pub(super) struct CloseConnection;

/// Serves until the runtime ends.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| respond(router.clone(), request.map(Body::new)));
        // A connection's errors are the client's.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn respond(router: Router, request: Request<Body>) -> io::Result<Response<Body>> {
    let response = router.oneshot(request).await.unwrap_or_else(|never: Infallible| match never {});
    match response.extensions().get() {
        Some(CloseConnection) => Err(io::ErrorKind::ConnectionReset.into()),
        None => Ok(response),
    }
}
