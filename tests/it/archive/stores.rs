//! Failures of the store.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use object_store::signer;
use renderhook::archive::Store;
use renderhook::domain::Kind;
use renderhook::domain::ObjectKey;
use sqlx::PgPool;

use crate::support::harness::{Harness, PART, noise};
use crate::support::s3_proxy::{CUT_BYTES, Call, Fault, SESSION_TOKEN};
use crate::support::scripted::{Origin, Step};
use crate::support::until;

const LENGTH: usize = 3 * PART + 100_000;

#[sqlx::test]
async fn no_object_and_no_upload_remain_after_a_failure_of_the_bucket(pool: PgPool) {
    let harness = Harness::bucket(&pool).await;
    let proxy = harness.proxy.clone().unwrap();
    let table = [
        ("put", 1000, Call::Put),
        ("create", LENGTH, Call::Create),
        ("first", LENGTH, Call::Part(1)),
        ("middle", LENGTH, Call::Part(2)),
        ("last", LENGTH, Call::Part(4)),
        ("complete", LENGTH, Call::Complete),
    ];
    for (name, length, call) in table {
        for fault in [Fault::Error, Fault::Reset] {
            let id = &format!("{name}-{fault:?}").to_lowercase();
            let file = noise(length, 1);
            let origin = Origin::start(file.clone()).await;
            proxy.fail(call, fault);
            harness.queue(id, origin.url("a.mp4")).await;
            let row = harness.attempt(id).await;
            assert_eq!(row.outcome(), ("pending", Some("store_failed")), "{id}");
            assert!(!row.error_message.unwrap().contains("test-secret-key"));
            harness.assert_nothing(id).await;
            proxy.heal();
            harness.attempt(id).await;
            harness.assert_stored(id, &file).await;
        }
    }
}

#[sqlx::test]
async fn an_upload_that_cannot_be_aborted_is_aborted_by_the_next_attempt(pool: PgPool) {
    let harness = Harness::bucket(&pool).await;
    let proxy = harness.proxy.clone().unwrap();
    let file = noise(LENGTH, 2);
    let origin = Origin::start(file.clone()).await;
    harness.queue("down", origin.url("a.mp4")).await;
    // The store becomes unreachable in the middle.
    for call in [Call::Part(2), Call::Complete, Call::Abort] {
        proxy.fail(call, Fault::Error);
    }
    assert_eq!(harness.attempt("down").await.outcome(), ("pending", Some("store_failed")));
    assert!(harness.object("down").is_none());
    assert_ne!(harness.unfinished(), Vec::<String>::new(), "it could not be ended");
    proxy.heal();
    harness.attempt("down").await;
    harness.assert_stored("down", &file).await;
}

#[sqlx::test]
async fn an_object_is_written_again_if_its_completion_was_not_confirmed(pool: PgPool) {
    let harness = Harness::bucket(&pool).await;
    let proxy = harness.proxy.clone().unwrap();
    for (id, length, call) in [("multipart", LENGTH, Call::Complete), ("single", 1000, Call::Put)] {
        let file = noise(length, 3);
        let origin = Origin::start(file.clone()).await;
        proxy.fail(call, Fault::Lost);
        harness.queue(id, origin.url("a.mp4")).await;
        assert_eq!(harness.attempt(id).await.state, "pending", "{id}: nobody has confirmed it");
        assert!(harness.object(id).is_none_or(|object| object == file), "{id}: whole or not at all");
        proxy.heal();
        harness.attempt(id).await;
        harness.assert_stored(id, &file).await;
    }
}

#[sqlx::test]
async fn a_hanging_store_slows_the_transfer_but_not_a_stop(pool: PgPool) {
    let harness = Harness::bucket(&pool).await;
    let proxy = harness.proxy.clone().unwrap();
    let file = noise(10 * PART, 4);
    let origin = Origin::start(file.clone()).await;
    proxy.fail(Call::Part(1), Fault::Hang);
    harness.queue("hangs", origin.url("a.mp4")).await;
    let (attempt, stop) = harness.begin("hangs").await;
    until("the first part", || async { proxy.calls().contains(&Call::Part(1)).then_some(()) }).await;
    let started_at = Instant::now();
    stop.stop();
    attempt.await.unwrap();
    assert!(started_at.elapsed() < Duration::from_secs(3), "{:?}", started_at.elapsed());
    let row = harness.row("hangs").await;
    assert_eq!((row.outcome(), row.attempts), (("pending", None), 0));
    assert!(!proxy.calls().contains(&Call::Part(3)), "parts in memory are bounded");
    proxy.heal();
    harness.attempt("hangs").await;
    harness.assert_stored("hangs", &file).await;
}

#[sqlx::test]
async fn a_stop_during_a_slow_write_loses_no_part_of_the_file(pool: PgPool) {
    let harness = Harness::bucket(&pool).await;
    let proxy = harness.proxy.clone().unwrap();
    let file = noise(5 * PART, 7);
    let origin = Origin::start(file.clone()).await;
    origin.next([Step::hold(3 * PART + 1)]);
    proxy.fail(Call::Part(2), Fault::Hold);
    harness.queue("slow", origin.url("a.mp4")).await;
    let (attempt, stop) = harness.begin("slow").await;
    until("the second part", || async { proxy.calls().contains(&Call::Part(2)).then_some(()) }).await;
    // Whether or not the third part is full already, the transfer resumes from the checkpoint.
    until("the third part", || async { (origin.sent() > 3 * PART).then_some(()) }).await;
    stop.stop();
    proxy.heal();
    attempt.await.unwrap();
    let checkpoint = harness.checkpoint("slow").await.unwrap();
    assert!(checkpoint >= 2 * PART, "{checkpoint}");
    harness.attempt("slow").await;
    harness.assert_stored("slow", &file).await;
    assert_eq!(origin.offsets(), [0, checkpoint as u64]);
}

#[sqlx::test]
async fn a_hanging_completion_does_not_delay_a_stop_beyond_its_deadline(pool: PgPool) {
    let harness = Harness::bucket(&pool).await;
    let proxy = harness.proxy.clone().unwrap();
    for (id, length, call) in [("multipart", LENGTH, Call::Complete), ("single", 1000, Call::Put)] {
        let file = noise(length, 8);
        let origin = Origin::start(file.clone()).await;
        proxy.fail(call, Fault::Hang);
        harness.queue(id, origin.url("a.mp4")).await;
        let (attempt, stop) = harness.begin(id).await;
        until("the end", || async { proxy.calls().contains(&call).then_some(()) }).await;
        stop.stop();
        stop.forced().cancel();
        attempt.await.unwrap();
        let row = harness.row(id).await;
        assert_eq!((row.outcome(), row.attempts), (("pending", None), 0), "{id}");
        proxy.heal();
        harness.attempt(id).await;
        harness.assert_stored(id, &file).await;
    }
}

#[sqlx::test]
async fn a_folder_that_cannot_be_written_is_tried_again(pool: PgPool) {
    let harness = Harness::folder(&pool);
    let file = noise(PART + 1, 5);
    let origin = Origin::start(file.clone()).await;
    let Store::Folder(folder) = &harness.downloader.store else { unreachable!() };
    let video = folder.path(&key("folder")).ancestors().nth(2).unwrap().to_owned();
    // A file in place of a folder.
    std::fs::write(&video, b"").unwrap();
    harness.queue("folder", origin.url("a.mp4")).await;
    assert_eq!(harness.attempt("folder").await.outcome(), ("pending", Some("store_failed")));
    std::fs::remove_file(&video).unwrap();
    // A folder in place of the file.
    std::fs::create_dir_all(folder.path(&key("folder")).join("x")).unwrap();
    assert_eq!(harness.attempt("folder").await.outcome(), ("pending", Some("store_failed")));
    assert_eq!(harness.unfinished(), Vec::<String>::new());
    std::fs::remove_dir_all(folder.path(&key("folder"))).unwrap();
    harness.attempt("folder").await;
    harness.assert_stored("folder", &file).await;
}

#[sqlx::test]
async fn an_object_is_stored_with_its_content_type(pool: PgPool) {
    let harness = Harness::bucket(&pool).await;
    let Store::Bucket(bucket) = &harness.downloader.store else { unreachable!() };
    let png = [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &noise(100, 6)].concat();
    let table = [
        ("announced", noise(PART + 1, 6), "video/webm", "video/webm"),
        ("seen", png, "application/octet-stream", "image/png"),
        ("named", noise(100, 6), "", "video/mp4"),
    ];
    for (id, file, announced, expected) in table {
        let origin = Origin::start(file.clone()).await;
        origin.always(Step::default().with("content-type", announced));
        harness.queue(id, origin.url("a.mp4")).await;
        assert_eq!(harness.attempt(id).await.content_type.as_deref(), Some(expected), "{id}");
        let link = bucket.link(&key(id), signer::Method::GET).await.unwrap();
        let object = reqwest::get(link).await.unwrap();
        assert_eq!(object.headers()["content-type"], expected, "{id}");
        assert_eq!(object.bytes().await.unwrap(), file);
    }
}

#[sqlx::test]
async fn a_session_token_in_an_error_of_the_bucket_is_not_stored(pool: PgPool) {
    let harness = Harness::bucket(&pool).await;
    let proxy = harness.proxy.clone().unwrap();
    for (id, length, call) in
        [("put", 1000, Call::Put), ("part", LENGTH, Call::Part(1)), ("end", LENGTH, Call::Complete)]
    {
        let origin = Origin::start(noise(length, 9)).await;
        proxy.fail(call, Fault::Expired);
        harness.queue(id, origin.url("a.mp4")).await;
        let message = harness.attempt(id).await.error_message.unwrap();
        assert!(message.ends_with("400 Bad Request: ExpiredToken: The provided token has expired."), "{message}");
        assert!(!message.contains(SESSION_TOKEN) && !message.contains("://"), "{message}");
        proxy.heal();
    }
}

#[sqlx::test]
async fn an_object_is_read_completely_even_if_every_answer_is_interrupted(pool: PgPool) {
    let harness = Harness::bucket(&pool).await;
    let proxy = harness.proxy.clone().unwrap();
    let file = noise(7 * CUT_BYTES, 10);
    let origin = Origin::start(file.clone()).await;
    harness.queue("large", origin.url("a.mp4")).await;
    harness.attempt("large").await;
    proxy.fail(Call::Get, Fault::Cut);
    for range in [None, Some(1..file.len())] {
        let expected = range.clone().unwrap_or(0..file.len());
        let range = range.map(|range| range.start as u64..range.end as u64);
        let chunks = harness.downloader.store.read(&key("large"), range).await.unwrap();
        assert!(chunks.try_collect::<Vec<_>>().await.unwrap().concat() == file[expected], "other bytes");
    }
}

#[sqlx::test]
async fn reading_a_missing_or_truncated_object_fails_at_the_start(pool: PgPool) {
    for harness in Harness::both(&pool).await {
        let id = if harness.proxy.is_some() { "bucket" } else { "folder" };
        let origin = Origin::start(noise(1000, 11)).await;
        harness.queue(id, origin.url("a.mp4")).await;
        harness.attempt(id).await;
        let store = &harness.downloader.store;
        assert_eq!(store.size(&key(id)).await.unwrap(), 1000);
        assert!(store.read(&key(id), Some(0..1000)).await.is_ok());
        assert!(store.read(&key(id), Some(0..1001)).await.is_err(), "{id}: shorter");
        assert!(store.read(&key("gone"), Some(0..1000)).await.is_err(), "{id}: gone");
        assert!(store.size(&key("gone")).await.is_err());
    }
}

fn key(id: &str) -> ObjectKey {
    ObjectKey::new(Kind::Video, &id.parse().unwrap(), 0, "https://h/a.mp4".parse().ok().as_ref())
}
