//! Malformed, oversized, slow, and forged requests.

use std::time::Duration;

use futures::future::join_all;
use renderhook::http::Limits;
use sqlx::PgPool;
use tokio::time::Instant;

use crate::support::app::{signed, video};
use crate::support::raw::{Reply, Wire, exchange};
use crate::support::rows::count;
use crate::support::{App, Options};

/// The head of a signed delivery, without the headers for the length of its body.
fn head(body: &[u8], more: &str) -> String {
    let delivery = signed(body);
    format!(
        "POST /webhook HTTP/1.1\r\nhost: h\r\nmagic-hour-event-signature: {}\r\nmagic-hour-event-timestamp: {}\r\n{more}\r\n",
        delivery.signature, delivery.timestamp
    )
}

fn body(id: &str) -> Vec<u8> {
    video(id, "rendering").event("video.started")
}

/// A complete signed delivery.
fn whole(id: &str, more: &str) -> Vec<u8> {
    let body = body(id);
    [head(&body, &format!("content-length: {}\r\n{more}", body.len())).into_bytes(), body].concat()
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn status(reply: Option<&Reply>) -> Option<u16> {
    reply.map(|reply| reply.status)
}

#[sqlx::test]
async fn a_body_over_the_limit_is_rejected_by_its_header_or_while_it_is_read(pool: PgPool) {
    let app = App::start_with(&pool, Options::flags(&["--max-body-bytes=64KiB"])).await;
    let large = vec![b' '; (64 << 10) + 1];
    // Content-Length: rejected before the body is sent, even without a signature.
    for more in ["content-length: 65537\r\n", "content-length: 65537\r\nexpect: 100-continue\r\n"] {
        let reply = exchange(&app.base, head(&large, more)).await.unwrap();
        assert_eq!(reply.status, 413, "{reply:?}");
        assert!(reply.message().contains("MAX_BODY_BYTES"));
    }
    let unsigned = "POST /webhook HTTP/1.1\r\nhost: h\r\ncontent-length: 9223372036854775808\r\n\r\n";
    assert_eq!(exchange(&app.base, unsigned).await.unwrap().status, 413);
    // Chunked: rejected as soon as it exceeds the limit, although it never ends.
    let mut wire = Wire::to(&app.base).await;
    wire.send(head(&large, "transfer-encoding: chunked\r\n")).await;
    for part in large.chunks(8 << 10) {
        wire.send(chunk(part)).await;
    }
    let reply = wire.receive().await.unwrap();
    assert_eq!((reply.status, reply.message().contains("65536")), (413, true), "{reply:?}");
    assert_eq!(count(&pool, "deliveries").await, 0);

    // Chunked and within the limit.
    let body = body("chunked");
    let mut request = head(&body, "transfer-encoding: chunked\r\n").into_bytes();
    body.chunks(7).for_each(|part| request.extend(chunk(part)));
    request.extend(b"0\r\n\r\n");
    assert_eq!(status(exchange(&app.base, request).await.as_ref()), Some(200));
    assert_eq!(count(&pool, "deliveries").await, 1);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn slow_bodies_slow_heads_and_idle_connections_time_out(pool: PgPool) {
    let soon = Duration::from_millis(200);
    let http_limits = Limits { body_timeout: soon, head_timeout: soon, idle_timeout: soon, ..Limits::default() };
    let app = App::start_with(&pool, Options { http_limits, ..Options::default() }).await;
    let body = body("slow");
    let mut wire = Wire::to(&app.base).await;
    wire.send(head(&body, &format!("content-length: {}\r\n", body.len()))).await;
    wire.send(&body[..10]).await;
    let reply = wire.receive().await.unwrap();
    assert_eq!((reply.status, reply.message().contains("0.2 s")), (408, true), "{reply:?}");
    assert!(wire.receive().await.is_none(), "the connection stayed");

    let mut wire = Wire::to(&app.base).await;
    wire.send("POST /webhook HTTP/1.1\r\nhost: h\r\nx: ").await;
    assert!(wire.receive().await.is_none(), "the connection stayed");

    let mut wire = Wire::to(&app.base).await;
    wire.send("GET /livez HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(status(wire.receive().await.as_ref()), Some(200));
    assert!(wire.receive().await.is_none(), "the connection stayed");
    assert_eq!(count(&pool, "deliveries").await, 0);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn disconnects_and_garbage_do_not_affect_other_clients(pool: PgPool) {
    let app = App::start(&pool).await;
    let body = body("cut");
    let announced = head(&body, &format!("content-length: {}\r\n", body.len()));
    for length in [0, 1, announced.len() / 2, announced.len(), announced.len() + body.len() - 1] {
        let mut wire = Wire::to(&app.base).await;
        wire.send(&[announced.as_bytes(), &body].concat()[..length]).await;
        drop(wire);
    }
    let nonsense: [&[u8]; 8] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"POST /webhook HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        b"POST /webhook HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /webhook HTTP/1.1\r\nbad header\r\n\r\n",
    ];
    for bytes in nonsense {
        let reply = exchange(&app.base, bytes).await;
        match reply {
            Some(reply) => assert_eq!((reply.status, reply.message().is_empty()), (400, false), "{bytes:?}"),
            // There is no answer to the preface of HTTP/2.
            None => assert!(bytes.starts_with(b"PRI"), "{bytes:?}"),
        }
    }
    let chunked = [head(&body, "transfer-encoding: chunked\r\n").as_bytes(), b"zz\r\n"].concat();
    let reply = exchange(&app.base, chunked).await.unwrap();
    assert_eq!((reply.status, reply.message().is_empty()), (400, false));
    assert_eq!(count(&pool, "deliveries").await, 0);
    assert_eq!(app.post(&body).await.status, 200);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn http_1_0_pipelined_and_padded_requests_are_answered(pool: PgPool) {
    let app = App::start(&pool).await;
    // HTTP/1.0.
    let old = String::from_utf8(whole("old", "")).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    let mut wire = Wire::to(&app.base).await;
    wire.send(old).await;
    assert_eq!(status(wire.receive().await.as_ref()), Some(200));
    assert!(wire.receive().await.is_none(), "HTTP/1.0 connections end");
    // Three pipelined requests are answered in order.
    let mut wire = Wire::to(&app.base).await;
    let forged = b"POST /webhook HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}".to_vec();
    wire.send([whole("first", ""), forged, whole("third", "")].concat()).await;
    for expected in [200, 401, 200] {
        assert_eq!(status(wire.receive().await.as_ref()), Some(expected));
    }
    // A header of 10,000 bytes is accepted, and one far above 32 KiB is not.
    let padded = |length: usize| whole("padded", &format!("x-padding: {}\r\n", "x".repeat(length)));
    assert_eq!(status(exchange(&app.base, padded(10_000)).await.as_ref()), Some(200));
    let reply = exchange(&app.base, padded(400_000)).await;
    assert!(matches!(status(reply.as_ref()), None | Some(431)), "{reply:?}");
    assert_eq!(count(&pool, "renders").await, 4);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn wrong_methods_and_paths_get_an_error_in_json(pool: PgPool) {
    let app = App::start(&pool).await;
    let ask = async |method: &str, path: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n");
        exchange(&app.base, request).await.unwrap()
    };
    let paths = [
        ("/webhook", "POST"),
        ("/livez", "GET,HEAD"),
        ("/readyz", "GET,HEAD"),
        ("/renders", "GET,HEAD"),
        ("/renders/x", "GET,HEAD,PUT,DELETE"),
    ];
    for (path, allowed) in paths {
        let methods = ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];
        for method in methods.into_iter().filter(|method| !allowed.contains(method)) {
            let reply = ask(method, path).await;
            assert_eq!((reply.status, reply.message().is_empty()), (405, false), "{method} {path}");
            assert_eq!(reply.header("allow").map(str::to_uppercase).as_deref(), Some(allowed), "{method} {path}");
        }
    }
    assert_eq!(ask("GET", "/webhook").await.status, 405);
    for path in
        ["/", "/webhook/", "/webhook/x", "//webhook", "/WEBHOOK", "/..%2f..%2fetc/passwd", "/%00", "/%ff", "/livez/"]
    {
        let reply = ask("GET", path).await;
        assert_eq!((reply.status, reply.message().is_empty()), (404, false), "{path}");
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn signed_deliveries_get_through_a_flood_of_forged_ones(pool: PgPool) {
    let app = App::start(&pool).await;
    let forged = async |at: usize| {
        let text = body(&format!("forged-{at}"));
        // The signature of another body, so that the HMAC must be computed.
        let request = head(b"another", &format!("content-length: {}\r\n", text.len()));
        let reply = exchange(&app.base, [request.as_bytes(), &text].concat()).await;
        assert_eq!(status(reply.as_ref()), Some(401), "{at}");
    };
    let signed = async |at: usize| {
        let begun = Instant::now();
        let reply = exchange(&app.base, whole(&format!("signed-{at}"), "")).await;
        assert_eq!(status(reply.as_ref()), Some(200), "{at}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    };
    tokio::join!(join_all((0..500).map(forged)), join_all((0..20).map(signed)));
    assert_eq!(count(&pool, "deliveries").await, 20);
    app.stop().await.unwrap();
}
