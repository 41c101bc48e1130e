//! Stopping and killing the real binary, and its log.

use std::collections::HashSet;

use renderhook::runtime::LogEvent;
use renderhook_dev::standin::SignedRequest;
use reqwest::Client;
use rustix::process::Signal;
use serde_json::Value;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::task::JoinSet;
use url::Url;

use crate::support::app::{SECRET, TOKEN, signed, signed_at, video};
use crate::support::harness::unfinished;
use crate::support::origin::Origin;
use crate::support::process::{Service, database_url, serve};
use crate::support::raw::Wire;
use crate::support::rows::{count, deliveries};
use crate::support::until;

/// Completes a render whose file is being transferred until the origin releases it.
async fn begin_a_download(service: &Service, origin: &Origin, id: &str) {
    let mut project = video(id, "complete");
    project.downloads.push(origin.url("slow.bin"));
    let delivery = signed(&project.event("video.completed"));
    assert_eq!(delivery.post(&service.client, &service.at("webhook")).await.unwrap().status, 200);
    origin.wait_for_request().await;
}

/// Sends a delivery but for its last byte. The service waits for that.
async fn send_all_but_one_byte(service: &Service, delivery: &SignedRequest) -> Wire {
    let mut wire = Wire::to(&service.base).await;
    let head = format!(
        "POST /webhook HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\nmagic-hour-event-signature: {}\r\n\
         magic-hour-event-timestamp: {}\r\nexpect: 100-continue\r\n\r\n",
        delivery.body.len(),
        delivery.signature,
        delivery.timestamp,
    );
    wire.send(head).await;
    assert_eq!(wire.receive().await.unwrap().status, 100); // the handler has it
    wire.send(&delivery.body[..delivery.body.len() - 1]).await;
    wire
}

/// Asks for a render that is not finished, and waits until the service has looked at it.
async fn wait_for_render(service: &Service, pool: &PgPool, id: &str) -> Wire {
    let mut waiting = Wire::to(&service.base).await;
    waiting
        .send(format!("GET /renders/{id}?wait=60s HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {TOKEN}\r\n\r\n"))
        .await;
    until("the caller to wait", || async {
        let looking = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%r.external_id, r.metadata%'";
        let looked: i64 = sqlx::query_scalar(looking).fetch_one(pool).await.unwrap();
        // One of them is this query itself.
        (looked > 1).then_some(())
    })
    .await;
    waiting
}

#[sqlx::test]
async fn a_stop_releases_downloads_at_once_and_answers_open_requests(pool: PgPool) {
    let (folder, origin) = (TempDir::new().unwrap(), Origin::start().await);
    let mut service = Service::start(serve(&database_url(&pool), &folder)).await;
    begin_a_download(&service, &origin, "slow").await;
    let late = signed(&video("late", "rendering").event("video.started"));
    let mut wire = send_all_but_one_byte(&service, &late).await;
    let mut waiting = wait_for_render(&service, &pool, "slow").await;

    service.signal(Signal::TERM);
    let row = || async {
        let row = sqlx::query_as::<_, (String, i32)>("SELECT state, attempts FROM downloads");
        row.fetch_one(&pool).await.unwrap()
    };
    until("the file to be given back", || async { (row().await == ("pending".to_owned(), 0)).then_some(()) }).await;
    assert!(service.runs(), "it did not wait for the delivery");
    wire.send(&late.body[late.body.len() - 1..]).await;
    assert_eq!(wire.receive().await.unwrap().status, 200);
    assert_eq!(waiting.receive().await.map(|reply| reply.status), Some(200));
    assert_eq!(service.ended().await.code(), Some(0));
    assert_eq!(service.log.events("service.stopped")[0]["drained"], true);
    assert_eq!(deliveries(&pool).await.last().unwrap().render_id.as_deref(), Some("late"));
    assert_eq!(unfinished(folder.path()), Vec::<String>::new());
}

/// Sends events, one after the other, until one is not answered with 200. Returns the ids of those that were.
async fn send_until_it_fails(client: Client, to: Url, sender: usize) -> Vec<String> {
    let mut answered = Vec::new();
    for at in 0.. {
        let id = format!("{sender}-{at}");
        let delivery = signed(&video(&id, "rendering").event("video.started"));
        match delivery.post(&client, &to).await {
            Ok(answer) if answer.status == 200 => answered.push(id),
            _ => break,
        }
    }
    answered
}

#[sqlx::test]
async fn a_kill_loses_no_event_that_was_answered_with_200(pool: PgPool) {
    let (folder, origin) = (TempDir::new().unwrap(), Origin::start().await);
    let url = database_url(&pool);
    let short_lease = || {
        let mut command = serve(&url, &folder);
        command.env("DOWNLOAD_LEASE", "1s");
        command
    };
    let mut service = Service::start(short_lease()).await;
    begin_a_download(&service, &origin, "taken").await;

    let senders: JoinSet<_> =
        (0..4).map(|sender| send_until_it_fails(service.client.clone(), service.at("webhook"), sender)).collect();
    until("some deliveries", || async { (count(&pool, "deliveries").await > 40).then_some(()) }).await;
    service.signal(Signal::KILL);
    service.ended().await;
    let answered = senders.join_all().await.concat();
    assert!(answered.len() > 20, "{}", answered.len());

    origin.release();
    let service = Service::start(short_lease()).await;
    let rows: HashSet<_> = deliveries(&pool).await.into_iter().filter_map(|row| row.render_id).collect();
    assert_eq!(answered.iter().filter(|id| !rows.contains(*id)).count(), 0);
    until("the download to be taken over", || async {
        (service.get("renders/taken").await.1["archive"] == "stored").then_some(())
    })
    .await;
    assert_eq!(service.log.events("download.taken_over").len(), 1);
    service.stop().await;
}

/// Checks that each line is JSON with the documented fields and a documented event.
fn assert_documented(lines: &[String]) {
    let known: HashSet<_> = LogEvent::ALL.iter().map(|event| event.as_str()).collect();
    for line in lines {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "message", "target"] {
            assert!(line[field].is_string(), "{field} in {line}");
        }
        assert!(line["event"].as_str().is_some_and(|event| known.contains(event)), "{line}");
    }
}

#[sqlx::test]
async fn the_log_uses_documented_events_and_contains_no_secret(pool: PgPool) {
    let (folder, origin) = (TempDir::new().unwrap(), Origin::start().await);
    let mut command = serve(&database_url(&pool), &folder);
    command.env("LOG_FORMAT", "json").env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
    let mut service = Service::start(command).await;
    origin.release();
    let mut project = video("logged", "complete");
    project.name = Some("body-hush".to_owned());
    project.downloads = vec![origin.url("slow.bin?X-Goog-Signature=query-hush"), origin.url("missing?sig=query-hush")];
    let good = signed(&project.event("video.completed"));
    let mut forged = signed(&project.event("video.started"));
    forged.signature = "5ec2e7".repeat(11)[..64].to_owned();
    let stale = signed_at(7, &project.event("video.errored"));
    let unreadable = signed(b"body-hush");
    let unknown = signed(br#"{"type":"x","payload":{"id":"y","name":"body-hush"}}"#);
    for (delivery, status) in
        [(&good, 200), (&good, 200), (&forged, 401), (&stale, 401), (&unreadable, 400), (&unknown, 200)]
    {
        assert_eq!(delivery.post(&service.client, &service.at("webhook")).await.unwrap().status, status);
    }
    until("the file to be stored", || async { service.log.events("download.stored").pop() }).await;
    until("the other to be refused", || async {
        [service.log.events("download.retried"), service.log.events("download.failed")].concat().pop()
    })
    .await;
    service.get("renders/logged?wait=0s").await;
    let wrong = service.client.get(service.at("renders/logged?token=query-hush")).bearer_auth("token-hush").send();
    assert_eq!(wrong.await.unwrap().status(), 401);
    service.signal(Signal::TERM);
    assert!(service.ended().await.success());

    assert_documented(&service.log.all());
    for event in ["recorded", "duplicate", "rejected", "stale", "unreadable", "unknown"] {
        assert_eq!(service.log.events(&format!("webhook.{event}")).len(), 1, "{event}");
    }
    let written = [service.log.all(), service.stderr.all()].concat().join("\n");
    let signatures = [&good, &forged, &stale, &unreadable].map(|delivery| delivery.signature.as_str());
    let secrets = ["hush", SECRET, TOKEN, "X-Goog"].into_iter().chain(signatures);
    assert_eq!(secrets.filter(|secret| written.contains(secret)).collect::<Vec<_>>(), [""; 0], "{written}");
}
