//! Many files at once.

use sqlx::PgPool;

use crate::support::app::video;
use crate::support::harness::noise;
use crate::support::scripted::{Origin, Step};
use crate::support::{App, Options, until};

async fn stored(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM downloads WHERE state = 'stored'").fetch_one(pool).await.unwrap()
}

#[sqlx::test]
async fn two_thousand_files_of_one_event_are_stored_within_the_concurrency_limit(pool: PgPool) {
    let origin = Origin::start(noise(2000, 1)).await;
    // Sent in pieces, so that answers overlap.
    origin.always(Step { pieces: Some(100), ..Step::default() });
    let app = App::start_with(&pool, Options::flags(&["--download-concurrency=8"])).await;
    let mut project = video("many", "complete");
    project.downloads = (0..2000).map(|file| origin.url(&format!("{file}.mp4?sig=1"))).collect();
    assert_eq!(app.send("video.completed", &project).await.status, 200);
    let mut before = 0;
    while before < 2000 {
        // Each step has its own deadline.
        before = until(&format!("more than {before} files"), || async {
            Some(stored(&pool).await).filter(|now| *now == 2000 || *now >= before + 100)
        })
        .await;
    }
    assert_eq!(origin.requests().len(), 2000, "each file once");
    assert!(origin.peak() <= 8, "{} at once", origin.peak());
    assert!(origin.peak() > 3, "{} at once", origin.peak());
}

#[sqlx::test]
async fn fifty_renders_at_once_are_all_stored_by_two_services(pool: PgPool) {
    let origin = Origin::start(noise(2000, 2)).await;
    origin.always(Step { pieces: Some(100), ..Step::default() });
    let flags = ["--download-concurrency=4"];
    let one = App::start_with(&pool, Options::flags(&flags)).await;
    let _two = App::start_with(&pool, Options::flags(&flags)).await;
    let events = (0..50).map(|render| {
        let mut project = video(&format!("render{render}"), "complete");
        project.downloads = (0..4).map(|file| origin.url(&format!("{render}/{file}.mp4"))).collect();
        let one = &one;
        async move { assert_eq!(one.send("video.completed", &project).await.status, 200) }
    });
    futures::future::join_all(events).await;
    until("200 files", || async { (stored(&pool).await == 200).then_some(()) }).await;
    assert_eq!(origin.requests().len(), 200, "each file once");
    assert!(origin.peak() <= 8, "{} at once", origin.peak());
}

#[sqlx::test]
async fn a_slow_server_does_not_starve_another(pool: PgPool) {
    let (slow, fast) = (Origin::start(noise(2000, 3)).await, Origin::start(noise(2000, 4)).await);
    slow.always(Step::hold(10));
    let app = App::start_with(&pool, Options::flags(&["--download-concurrency=3"])).await;
    let mut project = video("slow", "complete");
    project.downloads = (0..20).map(|file| slow.url(&format!("{file}.mp4"))).collect();
    app.send("video.completed", &project).await;
    slow.wait_for_requests(2).await;
    let mut project = video("fast", "complete");
    project.downloads = (0..20).map(|file| fast.url(&format!("{file}.mp4"))).collect();
    // The same machine with another name counts as another server.
    for url in &mut project.downloads {
        url.set_host(Some("localhost")).unwrap();
    }
    app.send("video.completed", &project).await;
    app.archived("fast", "stored").await;
    assert_eq!(slow.requests().len(), 2, "one slot is reserved for other hosts");
    assert_eq!(stored(&pool).await, 20);
}
