//! Requirements of RFC 9110 and RFC 9112, and headers of every answer.

use sqlx::PgPool;

use crate::support::App;
use crate::support::app::TOKEN;
use crate::support::raw::{Wire, exchange};

#[sqlx::test]
async fn a_request_without_exactly_one_valid_host_is_rejected(pool: PgPool) {
    let app = App::start(&pool).await;
    let table = [
        ("HTTP/1.1", "host: example.com:8080\r\n", 200),
        ("HTTP/1.0", "", 200),
        ("HTTP/1.1", "", 400),
        ("HTTP/1.1", "host:\r\n", 400),
        ("HTTP/1.1", "host: a b\r\n", 400),
        ("HTTP/1.1", "host: a\r\nhost: a\r\n", 400),
    ];
    for (version, hosts, status) in table {
        let mut wire = Wire::to(&app.base).await;
        wire.send(format!("GET /livez {version}\r\n{hosts}\r\n")).await;
        let reply = wire.receive().await.unwrap();
        assert_eq!((reply.status, reply.message().is_empty()), (status, false), "{hosts:?}");
        if status == 400 {
            assert!(wire.receive().await.is_none(), "the connection stayed: {hosts:?}");
        }
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn an_unsupported_transfer_coding_is_rejected(pool: PgPool) {
    let app = App::start(&pool).await;
    let request = |coding| {
        format!("POST /webhook HTTP/1.1\r\nhost: h\r\ntransfer-encoding: {coding}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n")
    };
    for (coding, status) in [("gzip, chunked", 501), ("chunked", 401)] {
        let reply = exchange(&app.base, request(coding)).await.unwrap();
        assert_eq!((reply.status, reply.message().is_empty()), (status, false), "{coding}");
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_401_has_a_challenge_and_is_sent_before_the_body_is_read(pool: PgPool) {
    let app = App::start(&pool).await;
    for (path, challenge) in [("/webhook", "magichoursignature"), ("/renders/x/retry", "bearer")] {
        let mut wire = Wire::to(&app.base).await;
        // The body is never sent, and no 100 Continue requests it.
        wire.send(format!("POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: 1000\r\nexpect: 100-continue\r\n\r\n"))
            .await;
        let reply = wire.receive().await.unwrap();
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some(challenge)), "{reply:?}");
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn every_answer_has_a_request_id_and_a_valid_one_of_the_caller_is_used(pool: PgPool) {
    let app = App::start(&pool).await;
    let table = [
        (
            format!("GET /renders HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {TOKEN}\r\nx-request-id: mine\r\n\r\n"),
            200,
        ),
        ("GET /livez HTTP/1.1\r\nhost: h\r\nx-request-id: mine\r\n\r\n".to_owned(), 200),
        ("GET /nothing HTTP/1.1\r\nhost: h\r\nx-request-id: mine\r\n\r\n".to_owned(), 404),
        ("PUT /livez HTTP/1.1\r\nhost: h\r\nx-request-id: mine\r\n\r\n".to_owned(), 405),
        ("POST /webhook HTTP/1.1\r\nhost: h\r\nx-request-id: mine\r\n\r\n".to_owned(), 401),
        ("GET /livez HTTP/1.1\r\nx-request-id: mine\r\n\r\n".to_owned(), 400),
    ];
    for (request, status) in table {
        let reply = exchange(&app.base, &request).await.unwrap();
        assert_eq!((reply.status, reply.header("x-request-id")), (status, Some("mine")), "{request}");
        let reply = exchange(&app.base, request.replace("mine", "not {sane}")).await.unwrap();
        assert_eq!(reply.header("x-request-id").map(str::len), Some(36), "{reply:?}");
    }
    // This includes errors of hyper.
    let large = format!("GET /livez HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "x".repeat(40 << 10));
    for (request, status) in [("nonsense\r\n\r\n", 400), (&large, 431)] {
        let reply = exchange(&app.base, request).await.unwrap();
        assert_eq!((reply.status, reply.message().is_empty()), (status, false), "{reply:?}");
        assert_eq!(reply.header("x-request-id").map(str::len), Some(36), "{reply:?}");
    }
    app.stop().await.unwrap();
}
