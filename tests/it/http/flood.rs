//! Everything at once: idle connections, slow heads, slow bodies, forged requests, and far more events than usual.

#![cfg(target_os = "linux")]

use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use renderhook::runtime::raise_descriptor_limit;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::time::timeout;
use url::Url;

use crate::support::app::{TOKEN, signed, video};
use crate::support::process::{Service, database_url, serve};
use crate::support::raw::{Wire, exchange};
use crate::support::rows::count;
use crate::support::until;

/// Connections that send nothing, unless this process may not open that many.
const IDLE: usize = 5_000;
/// Connections that send half a head, and half a body.
const SLOW: usize = 300;
/// Signed events, from this many senders at once.
const EVENTS: usize = 3_000;
const SENDERS: usize = 400;
/// The time limit of an answer, as documented.
const ANSWER: Duration = Duration::from_secs(8);

/// The peak memory of the process, in MiB.
fn peak(service: &Service) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
}

fn signature() -> String {
    format!("magic-hour-event-signature: {}\r\nmagic-hour-event-timestamp: 1\r\n", "0".repeat(64))
}

/// Connections that each send the beginning of a request and then nothing.
async fn open(base: &Url, count: usize, beginning: &str) -> Vec<Wire> {
    let open = async |_| {
        let mut wire = Wire::to(base).await;
        wire.send(beginning).await;
        wire
    };
    stream::iter(0..count).map(open).buffer_unordered(200).collect().await
}

/// Posts an event, and returns the status of the answer, which comes in time.
async fn post(service: &Service, number: usize) -> u16 {
    let delivery = signed(&video(&format!("clx{number}"), "rendering").event("video.started"));
    let to = service.at("webhook");
    let answer = delivery.post(&service.client, &to);
    timeout(ANSWER, answer).await.expect("an answer in time").unwrap().status.as_u16()
}

/// Posts an event that was refused again.
async fn accepted_again(service: &Service, number: usize) -> Option<()> {
    (post(service, number).await == 200).then_some(())
}

/// Asks the address of the API, and the public one beside it, and returns the statuses of the answers, which come in time.
async fn look(service: &Service, api: &Url) -> Vec<(u16, u16)> {
    let asked = ["livez", "readyz", "renders", "metrics"].map(async |path| {
        let answer = service.client.get(api.join(path).unwrap()).bearer_auth(TOKEN).send();
        let public = service.client.get(service.at("livez")).send();
        let (answer, public) = timeout(ANSWER, futures::future::join(answer, public)).await.expect("in time");
        (answer.unwrap().status().as_u16(), public.unwrap().status().as_u16())
    });
    join_all(asked).await
}

#[sqlx::test]
async fn a_flood_delays_events_and_loses_none_and_the_other_address_does_not_notice(pool: PgPool) {
    let idle = IDLE.min(usize::try_from(raise_descriptor_limit()).unwrap_or(usize::MAX) / 3);
    let folder = TempDir::new().unwrap();
    let mut command = serve(&database_url(&pool), &folder);
    command.env("API_LISTEN_ADDR", "127.0.0.1:0");
    let service = Service::start(command).await;
    let api = service.log.events("service.started")[0]["api.address"].as_str().unwrap().to_owned();
    let api = Url::parse(&format!("http://{api}/")).unwrap();
    let before = peak(&service);

    let _idle = open(&service.base, idle, "").await;
    let _heads = open(&service.base, SLOW, "POST /webhook HTTP/1.1\r\nhost: h\r\nx-slow: ").await;
    let body = format!("POST /webhook HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\n{}\r\n{{", signature());
    let _bodies = open(&service.base, SLOW, &body).await;
    let forged = format!("POST /webhook HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n{}\r\n{{}}", signature());
    let forge = async |_| exchange(&service.base, &forged).await.map(|reply| reply.status);
    let forging = stream::iter(0..EVENTS).map(forge).buffer_unordered(100).collect::<Vec<_>>();
    let send = async |number| (number, post(&service, number).await);
    let sending = stream::iter(0..EVENTS).map(send).buffer_unordered(SENDERS).collect::<Vec<_>>();
    let (forged, answers, looked) = tokio::join!(forging, sending, look(&service, &api));

    assert!(forged.iter().flatten().all(|status| [401, 503].contains(status)), "{forged:?}");
    assert_eq!(looked, [(200, 200); 4]);
    assert!(answers.iter().all(|(_, status)| [200, 503].contains(status)), "{answers:?}");
    let accepted = answers.iter().filter(|(_, status)| *status == 200).count();
    assert!(accepted > 0 && i64::try_from(accepted).unwrap() <= count(&pool, "transitions").await, "{accepted}");
    // What was refused comes again, as Magic Hour would send it.
    let again_at = &service;
    let again = |(number, _)| until("an event to be accepted", move || accepted_again(again_at, number));
    join_all(answers.iter().copied().filter(|(_, status)| *status == 503).map(again)).await;
    assert_eq!(count(&pool, "transitions").await, i64::try_from(EVENTS).unwrap());
    let used = peak(&service) - before;
    assert!(used < 200, "{used} MiB");
    service.stop().await;
}
