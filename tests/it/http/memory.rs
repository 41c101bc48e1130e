//! The memory that unauthenticated clients can make the process use.

#![cfg(target_os = "linux")]

use futures::future::join_all;
use sqlx::PgPool;
use tempfile::TempDir;

use crate::support::process::{Service, database_url, serve};
use crate::support::raw::Wire;

/// The maximum size of a body.
const LARGEST: usize = 1 << 20;

/// The peak memory usage of the process, in MiB.
fn peak(service: &Service) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
}

#[sqlx::test]
async fn hundreds_of_slow_forged_bodies_stay_within_the_memory_budget(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let service = Service::start(serve(&database_url(&pool), &folder)).await;
    let before = peak(&service);
    let body = vec![b' '; LARGEST - 1];
    let slow = async || {
        let mut wire = Wire::to(&service.base).await;
        wire.send(format!(
            "POST /webhook HTTP/1.1\r\nhost: h\r\ncontent-length: {LARGEST}\r\nmagic-hour-event-signature: {}\r\n\
             magic-hour-event-timestamp: 1\r\n\r\n",
            "0".repeat(64)
        ))
        .await;
        wire.send(&body).await;
        // There is no answer if the connection is reset before it arrives.
        wire.receive().await.map(|reply| (reply.status, reply.header("retry-after").is_some()))
    };
    let answers = join_all((0..400).map(|_| slow())).await;
    let used = peak(&service) - before;
    assert!(answers.iter().flatten().all(|answer| [(408, false), (503, true)].contains(answer)), "{answers:?}");
    assert!(used < 160, "{used} MiB for a budget of 64 MiB");
    let (status, _) = service.get("renders").await;
    assert_eq!(status, 200);
    service.stop().await;
}
