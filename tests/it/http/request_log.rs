//! The log lines of requests, as the real binary writes them.

use std::collections::BTreeSet;
use std::process::Stdio;

use renderhook_dev::standin::SignedRequest;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::app::{TOKEN, signed, signed_at, video};
use crate::support::origin::Origin;
use crate::support::process::{Service, database_url, serve};
use crate::support::raw::{Wire, exchange};
use crate::support::until;

#[sqlx::test]
async fn long_methods_are_shortened_and_requests_rejected_by_hyper_are_logged(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let service = Service::start(serve(&database_url(&pool), &folder)).await;
    let method = "X".repeat(30_000);
    let long = exchange(&service.base, format!("{method} /webhook HTTP/1.1\r\nhost: h\r\n\r\n")).await.unwrap();
    assert_eq!(long.status, 405);
    let nonsense = exchange(&service.base, "nonsense\r\n\r\n").await.unwrap();
    assert_eq!(nonsense.status, 400);
    for (reply, route) in [(&long, "/webhook"), (&nonsense, "none")] {
        let line = until("its line", || async {
            let lines = service.log.events("http.responded");
            lines.into_iter().find(|line| line["request.id"].as_str() == reply.header("x-request-id"))
        })
        .await;
        assert_eq!((&line["http.method"], &line["http.route"]), (&"other".into(), &route.into()), "{line}");
        assert!(line.to_string().len() < 1000, "{line}");
    }
    service.stop().await;
}

/// Posts `delivery` with a request id, and returns the status.
async fn post(service: &Service, id: &str, delivery: &SignedRequest) -> u16 {
    let request = service.client.post(service.at("webhook")).header("x-request-id", id);
    let signed = request
        .header("magic-hour-event-timestamp", &delivery.timestamp)
        .header("magic-hour-event-signature", &delivery.signature);
    signed.body(delivery.body.clone()).send().await.unwrap().status().as_u16()
}

/// Posts deliveries with every outcome, each with an id of its own.
async fn post_deliveries(service: &Service, event: &[u8]) {
    let mut forged = signed(event);
    forged.signature = "0".repeat(64);
    for (id, delivery, status) in [
        ("first", signed(event), 200),
        ("second", signed(event), 200),
        ("forged", forged, 401),
        ("stale", signed_at(7, event), 401),
        ("unreadable", signed(b"no event"), 400),
    ] {
        assert_eq!(post(service, id, &delivery).await, status, "{id}");
    }
}

/// Requests a file that is missing before its answer begins, then one that shrinks while it is sent.
async fn request_broken_files(service: &Service, pool: &PgPool, folder: &TempDir) {
    let stored = folder.path().join("video/clx/0-slow.bin");
    std::fs::rename(&stored, folder.path().join("elsewhere")).unwrap();
    let file = "/renders/clx/downloads/0";
    let answer = service.client.get(service.at(file)).header("x-request-id", "gone").bearer_auth(TOKEN).send();
    assert_eq!(answer.await.unwrap().status(), 503);
    let large = 256 << 20;
    std::fs::File::create(&stored).unwrap().set_len(large).unwrap();
    sqlx::query("UPDATE downloads SET size_bytes = $1").bind(large.cast_signed()).execute(pool).await.unwrap();
    let mut wire = Wire::to(&service.base).await;
    wire.send(format!(
        "GET {file} HTTP/1.1\r\nhost: h\r\nx-request-id: shrunk\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    ))
    .await;
    wire.byte().await.expect("the answer begins");
    std::fs::File::options().write(true).open(&stored).unwrap().set_len(1 << 20).unwrap();
    while wire.byte().await.is_some() {}
}

#[sqlx::test]
async fn every_line_of_a_request_carries_its_id_and_no_other_line_does(pool: PgPool) {
    let (folder, origin) = (TempDir::new().unwrap(), Origin::start().await);
    origin.release();
    let service = Service::start(serve(&database_url(&pool), &folder)).await;
    let mut project = video("clx", "complete");
    project.downloads = vec![origin.url("slow.bin")];
    post_deliveries(&service, &project.event("video.completed")).await;
    until("the file to be stored", || async { service.log.events("download.stored").pop() }).await;
    request_broken_files(&service, &pool, &folder).await;

    let lines =
        until("the last line", || async { (service.log.events("store.failed").len() == 2).then(|| service.log.all()) })
            .await;
    let lines: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |id: &str| -> Vec<_> {
        lines.iter().filter(|line| line["request.id"] == id).map(|line| line["event"].as_str().unwrap()).collect()
    };
    assert_eq!(of("first"), ["webhook.recorded", "render.moved", "http.responded"]);
    assert_eq!(of("second"), ["webhook.duplicate", "http.responded"]);
    assert_eq!(of("forged"), ["webhook.rejected", "http.responded"]);
    assert_eq!(of("stale"), ["webhook.stale", "http.responded"]);
    assert_eq!(of("unreadable"), ["webhook.unreadable", "http.responded"]);
    assert_eq!(of("gone"), ["store.failed", "http.responded"]);
    assert_eq!(of("shrunk"), ["http.responded", "store.failed"]);
    let others = lines.iter().filter(|line| line["request.id"].is_null());
    let others: BTreeSet<_> = others.map(|line| line["event"].as_str().unwrap()).collect();
    let background = ["database.migrated", "download.started", "download.stored", "service.started", "store.ready"];
    assert!(others.is_subset(&BTreeSet::from(background)), "{others:?}");
    for line in service.log.all() {
        assert!(line.matches("request.id").count() <= 1 && !line.contains("\"span"), "{line}");
    }
    service.stop().await;
}

#[sqlx::test]
async fn the_pretty_log_has_the_request_id_too(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let mut command = serve(&database_url(&pool), &folder);
    let mut child = command.env("LOG_FORMAT", "pretty").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line_with = async |text: &str| loop {
        let line = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("the log ended without {text}"));
        if line.contains(text) {
            break line;
        }
    };
    let started = line_with("service.started").await;
    let address = started.split_once("address=").unwrap().1.split(' ').next().unwrap();
    let base = url::Url::parse(&format!("http://{address}/")).unwrap();
    exchange(&base, "POST /webhook HTTP/1.1\r\nhost: h\r\nx-request-id: mine\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    for event in ["webhook.rejected", "http.responded"] {
        let line = line_with(event).await;
        assert_eq!(line.matches("request.id=mine").count(), 1, "{line}");
    }
    kill_process(Pid::from_raw(child.id().unwrap().cast_signed()).unwrap(), Signal::TERM).unwrap();
    assert!(child.wait().await.unwrap().success());
}
