//! A process that has no file descriptor left.

use renderhook_dev::standin::SignedRequest;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::app::{TOKEN, signed, video};
use crate::support::origin::Origin;
use crate::support::process::{Service, database_url, serve};
use crate::support::raw::{Reply, Wire};
use crate::support::until;
use crate::support::wait::MAX_WAIT;

/// Posts on a connection that is there already.
async fn post(wire: &mut Wire, delivery: &SignedRequest) -> Reply {
    let head = format!(
        "POST /webhook HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\nmagic-hour-event-signature: {}\r\n\
         magic-hour-event-timestamp: {}\r\n\r\n",
        delivery.body.len(),
        delivery.signature,
        delivery.timestamp,
    );
    wire.send([head.as_bytes(), &delivery.body].concat()).await;
    wire.receive().await.unwrap()
}

#[sqlx::test]
async fn a_download_without_a_descriptor_is_postponed_and_the_attempt_does_not_count(pool: PgPool) {
    let (folder, origin) = (TempDir::new().unwrap(), Origin::start().await);
    origin.release();
    let service = Service::start(serve(&database_url(&pool), &folder)).await;
    let pid = Pid::from_raw(service.pid().cast_signed());
    let before = prlimit(pid, Resource::Nofile, getrlimit(Resource::Nofile)).unwrap();
    let mut wire = Wire::to(&service.base).await;
    wire.send("GET /readyz HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(wire.receive().await.unwrap().status, 200);

    // What is open stays open, and nothing more can be opened.
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(3), ..before }).unwrap();
    let mut project = video("later", "complete");
    project.downloads.push(origin.url("slow.bin"));
    let delivery = signed(&project.event("video.completed"));
    // The pool may want another connection: then it is 503, and Magic Hour sends the event again.
    let recorded = async { while post(&mut wire, &delivery).await.status != 200 {} };
    timeout(MAX_WAIT, recorded).await.expect("the event is recorded");
    let line = until("the download to be postponed", || async { service.log.events("download.postponed").pop() }).await;
    assert_eq!((&line["error"], &line["level"]), (&"too_many_open_files".into(), &"ERROR".into()), "{line}");

    prlimit(pid, Resource::Nofile, before).unwrap();
    let (_, render) = service.get("renders/later").await;
    let download = &render["downloads"][0];
    assert_eq!((&download["state"], &download["attempts"]), (&"pending".into(), &0.into()), "{render}");
    let now = service.client.post(service.at("renders/later/retry?state=pending")).bearer_auth(TOKEN).send().await;
    assert_eq!(now.unwrap().status(), 200);
    let download = until("the file to be stored", || async {
        let (_, render) = service.get("renders/later").await;
        (render["archive"] == "stored").then(|| render["downloads"][0].clone())
    })
    .await;
    assert_eq!(download["attempts"], 1, "{download}");
    service.stop().await;
}
