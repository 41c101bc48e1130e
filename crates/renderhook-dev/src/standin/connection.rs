//! Connections of the API: each request is answered, or its connection is closed without a word.

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

/// A mark on an answer: it is not sent, and the connection ends in its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct HangsUp;

/// Serves until the runtime ends.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| answer(router.clone(), request.map(Body::new)));
        // A connection's errors are its client's.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(router: Router, request: Request<Body>) -> io::Result<Response<Body>> {
    let answer = router.oneshot(request).await.unwrap_or_else(|never: Infallible| match never {});
    match answer.extensions().get() {
        Some(HangsUp) => Err(io::ErrorKind::ConnectionReset.into()),
        None => Ok(answer),
    }
}
