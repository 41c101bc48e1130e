//! An erasure that is killed at any point, and one whose store is down.

use std::pin::Pin;
use std::task::Poll;

use futures::future::poll_fn;
use renderhook::archive::Store;
use renderhook::erasure::Eraser;
use sqlx::PgPool;

use super::{erase_all, eraser, make_due, request};
use crate::support::harness::{Harness, PART, noise};
use crate::support::rows::count;
use crate::support::s3_proxy::{Call, Fault};
use crate::support::scripted::{Origin, Step};
use crate::support::until;

/// Runs a future until it was polled `polls` times, and then drops it, as a crash would. `None` if it was dropped.
async fn killed_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future: Pin<Box<_>> = Box::pin(future);
    let mut left = polls;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

fn store(harness: &Harness) -> &Store {
    &harness.downloader.store
}

/// A render with a stored file, and one with an unfinished upload.
async fn prepare(harness: &Harness, [small, origin]: &[Origin; 2], stored: &str, unfinished: &str) {
    harness.queue(stored, small.url("a.mp4")).await;
    assert_eq!(harness.attempt(stored).await.state, "stored");
    origin.next([Step::cut(PART + 1000), Step::status(503)]);
    harness.queue(unfinished, origin.url("a.mp4")).await;
    assert_eq!(harness.attempt(unfinished).await.state, "pending");
    assert!(harness.checkpoint(unfinished).await.is_some());
}

async fn assert_erased(harness: &Harness, id: &str) {
    let erased: bool = sqlx::query_scalar("SELECT erased_at IS NOT NULL FROM renders WHERE id = $1")
        .bind(id)
        .fetch_one(&harness.pool)
        .await
        .unwrap();
    assert!(erased, "{id}");
    for table in ["downloads", "checkpoints", "erasures"] {
        assert_eq!(count(&harness.pool, &format!("{table} WHERE render_id = '{id}'")).await, 0, "{table} of {id}");
    }
    assert_eq!(harness.object(id), None, "{id}");
}

/// Requests the erasure of renders and begins it, and drops each of these futures after `polls` polls. Returns whether one
/// had not ended by then.
async fn erase_and_die(pool: &PgPool, eraser: &Eraser, ids: &[String], polls: usize) -> bool {
    let mut is_killed = false;
    for id in ids {
        is_killed |= killed_after(polls, request(pool, id)).await.is_none();
        // The client asks again.
        request(pool, id).await.unwrap();
    }
    for _ in 0..2 {
        is_killed |= killed_after(polls, eraser.step()).await.is_none();
    }
    is_killed
}

#[sqlx::test]
async fn an_erasure_that_is_killed_between_any_two_steps_ends_with_nothing_left(pool: PgPool) {
    let file = noise(1000, 1);
    for harness in Harness::both(&pool).await {
        sqlx::query("TRUNCATE renders, transitions, downloads, checkpoints, erasures").execute(&pool).await.unwrap();
        let origins = [Origin::start(file.clone()).await, Origin::start(noise(PART + 2000, 2)).await];
        prepare(&harness, &origins, "neighbor", "other").await;
        let unfinished_before = harness.unfinished();
        let eraser = eraser(&pool, store(&harness));
        let mut polls = 0;
        let mut is_killed = true;
        while is_killed {
            polls += 1;
            let ids = [format!("s{polls}"), format!("u{polls}")];
            prepare(&harness, &origins, &ids[0], &ids[1]).await;
            is_killed = erase_and_die(&pool, &eraser, &ids, polls).await;
            // What has an object still has a row that remembers it.
            for id in &ids {
                let is_remembered = count(&pool, &format!("downloads WHERE render_id = '{id}'")).await > 0;
                assert!(is_remembered || harness.object(id).is_none(), "{id} after {polls} polls");
            }
            // Postgres may not know yet that a connection is gone, and hold its locks.
            until("all erasures to end", || async {
                make_due(&pool).await;
                erase_all(&eraser).await;
                (count(&pool, "erasures").await == 0).then_some(())
            })
            .await;
            for id in &ids {
                assert_erased(&harness, id).await;
            }
        }
        assert!(polls > 5, "it was killed at {polls} points only");
        assert_eq!(harness.object("neighbor"), Some(file.clone()));
        assert!(harness.checkpoint("other").await.is_some());
        assert_eq!(harness.unfinished(), unfinished_before, "the neighbor's own");
    }
}

#[sqlx::test]
async fn a_store_that_is_down_delays_an_erasure_and_its_objects_are_remembered(pool: PgPool) {
    let harness = Harness::bucket(&pool).await;
    let origins = [Origin::start(noise(1000, 3)).await, Origin::start(noise(PART + 2000, 4)).await];
    prepare(&harness, &origins, "stored", "unfinished").await;
    let proxy = harness.proxy.as_ref().unwrap();
    // Objects are deleted with a POST.
    for call in [Call::Abort, Call::Create, Call::Other] {
        proxy.fail(call, Fault::Error);
    }
    let eraser = eraser(&pool, store(&harness));
    for id in ["stored", "unfinished"] {
        request(&pool, id).await.unwrap();
    }
    assert!(eraser.step().await && eraser.step().await);
    assert!(!eraser.step().await, "they wait for their backoff");
    assert!(harness.object("stored").is_some());
    let remembered = count(&pool, "downloads").await + count(&pool, "checkpoints").await;
    assert_eq!(remembered, 3, "two objects and an upload");
    proxy.heal();
    make_due(&pool).await;
    erase_all(&eraser).await;
    for id in ["stored", "unfinished"] {
        assert_erased(&harness, id).await;
    }
    assert_eq!(harness.unfinished(), Vec::<String>::new());
}
