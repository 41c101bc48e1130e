//! The line `http.responded`, as the real binary writes it.

use sqlx::PgPool;
use tempfile::TempDir;

use crate::support::process::{Service, database_url, serve};
use crate::support::raw::exchange;
use crate::support::until;

#[sqlx::test]
async fn a_method_of_30_kb_is_a_short_line_and_refusals_of_hypers_are_logged(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let service = Service::start(serve(&database_url(&pool), &folder)).await;
    let method = "X".repeat(30_000);
    let long = exchange(&service.base, format!("{method} /webhook HTTP/1.1\r\nhost: h\r\n\r\n")).await.unwrap();
    assert_eq!(long.status, 405);
    let nonsense = exchange(&service.base, "nonsense\r\n\r\n").await.unwrap();
    assert_eq!(nonsense.status, 400);
    for (reply, route) in [(&long, "/webhook"), (&nonsense, "none")] {
        let line = until("its line", || async {
            let lines = service.log.telling("http.responded");
            lines.into_iter().find(|line| line["request.id"].as_str() == reply.header("x-request-id"))
        })
        .await;
        assert_eq!((&line["http.method"], &line["http.route"]), (&"other".into(), &route.into()), "{line}");
        assert!(line.to_string().len() < 1000, "{line}");
    }
    service.stop().await;
}
