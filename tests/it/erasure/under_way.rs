//! Erasing a render while its file is being downloaded.

use renderhook::erasure::ErasureProgress;
use sqlx::PgPool;

use super::{erase_all, eraser, make_due, request};
use crate::support::harness::{Harness, PART, noise};
use crate::support::rows::count;
use crate::support::scripted::{Origin, Step};
use crate::support::until;

#[sqlx::test]
async fn a_download_under_way_is_stopped_and_what_it_wrote_is_removed(pool: PgPool) {
    for harness in Harness::both(&pool).await {
        sqlx::query("TRUNCATE renders, transitions, downloads, checkpoints, erasures").execute(&pool).await.unwrap();
        // The lease is renewed every second.
        let harness = harness.with(|downloader| downloader.lease = std::time::Duration::from_secs(3));
        let origin = Origin::start(noise(3 * PART, 3)).await;
        origin.next([Step::hold(PART + 1000)]);
        harness.queue("x", origin.url("a.mp4")).await;
        let (transfer, _shutdown) = harness.begin("x").await;
        until("a part in the store", || async {
            let is_known = harness.checkpoint("x").await.is_some();
            (is_known && harness.unfinished().iter().any(|name| name.contains("part"))).then_some(())
        })
        .await;
        assert_eq!(request(&pool, "x").await, Some(ErasureProgress::Running));
        let eraser = eraser(&pool, &harness.downloader.store);
        assert!(eraser.step().await);
        // The worker finds out that its lease is gone.
        transfer.await.unwrap();
        origin.release();
        assert_eq!(count(&pool, "downloads").await, 1, "the object is remembered until none can appear any more");
        let sweep: bool = sqlx::query_scalar("SELECT sweep_at > now() + interval '9 minutes' FROM erasures")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert!(sweep, "a last request of the worker may still be on its way");
        sqlx::query("UPDATE erasures SET sweep_at = now()").execute(&pool).await.unwrap();
        make_due(&pool).await;
        erase_all(&eraser).await;
        assert_eq!(count(&pool, "downloads").await + count(&pool, "erasures").await, 0);
        assert_eq!((harness.object("x"), harness.unfinished()), (None, Vec::new()));
    }
}

#[sqlx::test]
async fn an_object_that_appears_after_the_first_deletion_is_swept(pool: PgPool) {
    let harness = Harness::folder(&pool);
    let origin = Origin::start(noise(1000, 4)).await;
    harness.queue("x", origin.url("a.mp4")).await;
    let claimed = harness.claim("x").await;
    request(&pool, "x").await.unwrap();
    let eraser = eraser(&pool, &harness.downloader.store);
    assert!(eraser.step().await);
    // A worker's last request arrives late.
    let late = renderhook::archive::NewObject {
        key: &claimed.key,
        content_type: "video/mp4",
        max_bytes: 1000,
        token: claimed.lease.token(),
    };
    let mut upload = harness.downloader.store.begin(late);
    upload.write(noise(1000, 4).into()).await.unwrap();
    upload.finish(std::time::Instant::now() + std::time::Duration::from_mins(1)).await.unwrap();
    assert!(harness.object("x").is_some());
    sqlx::query("UPDATE erasures SET sweep_at = now()").execute(&pool).await.unwrap();
    make_due(&pool).await;
    erase_all(&eraser).await;
    assert_eq!((harness.object("x"), count(&pool, "downloads").await), (None, 0));
}
