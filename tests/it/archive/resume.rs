//! An interrupted transfer resumes where it was, or starts over.

use sqlx::PgPool;

use crate::support::harness::{Harness, PART, noise};
use crate::support::scripted::{Length, Origin, Step};

const LENGTH: usize = 2 * PART + 100_000;

#[sqlx::test]
async fn an_interrupted_transfer_resumes_within_the_attempt(pool: PgPool) {
    let file = noise(LENGTH, 1);
    for (harness, id) in Harness::both(&pool).await.iter().zip(["folder", "bucket"]) {
        let origin = Origin::start(file.clone()).await;
        origin.next([Step::cut(1_000_000), Step::cut(PART), Step::cut(5)]);
        harness.queue(id, origin.url("a.mp4")).await;
        harness.attempt(id).await;
        harness.assert_stored(id, &file).await;
        assert_eq!(harness.row(id).await.attempts, 1);
        let second = 1_000_000 + PART as u64;
        assert_eq!(origin.offsets(), [0, 1_000_000, second, second + 5], "{id}");
        assert!(origin.requests()[1..].iter().all(|asked| asked.headers["if-range"] == "\"v1\""), "{id}");
    }
}

#[sqlx::test]
async fn a_transfer_that_cannot_resume_at_once_resumes_in_the_next_attempt(pool: PgPool) {
    let file = noise(LENGTH, 2);
    for (harness, id) in Harness::both(&pool).await.iter().zip(["folder", "bucket"]) {
        let origin = Origin::start(file.clone()).await;
        origin.next([Step::cut(PART + 1_000_000), Step::status(503)]);
        harness.queue(id, origin.url("a.mp4")).await;
        assert_eq!(harness.attempt(id).await.outcome(), ("pending", Some("http_503")), "{id}");
        assert_eq!(harness.checkpoint(id).await, Some(PART), "{id}");
        assert!(harness.object(id).is_none(), "{id}");
        harness.attempt(id).await;
        harness.assert_stored(id, &file).await;
        assert_eq!(origin.offsets(), [0, PART as u64 + 1_000_000, PART as u64], "{id}");
    }
}

#[sqlx::test]
async fn a_fresh_url_of_the_same_path_resumes_and_one_of_another_path_does_not(pool: PgPool) {
    let file = noise(LENGTH, 3);
    for (harness, id) in Harness::both(&pool).await.iter().zip(["folder", "bucket"]) {
        for (second, path, offset) in [("same", "a.mp4?sig=2", PART as u64), ("other", "b.mp4?sig=2", 0)] {
            let id = &format!("{id}-{second}");
            let origin = Origin::start(file.clone()).await;
            origin.next([Step::cut(PART + 10), Step::status(403)]);
            harness.queue(id, origin.url("a.mp4?sig=1")).await;
            assert_eq!(harness.attempt(id).await.outcome(), ("pending", Some("http_403")), "{id}");
            origin.accept_only_query("sig=2");
            let update = "UPDATE downloads SET url = $2 WHERE render_id = $1";
            let fresh = origin.url(path).to_string();
            sqlx::query(update).bind(id).bind(fresh).execute(&pool).await.unwrap();
            harness.attempt(id).await;
            harness.assert_stored(id, &file).await;
            assert_eq!(origin.offsets()[2..], [offset], "{id}");
        }
    }
}

#[sqlx::test]
async fn another_worker_resumes_after_a_stop(pool: PgPool) {
    let file = noise(LENGTH, 4);
    for (harness, id) in Harness::both(&pool).await.iter().zip(["folder", "bucket"]) {
        let origin = Origin::start(file.clone()).await;
        origin.next([Step::hold(PART + 10)]);
        harness.queue(id, origin.url("a.mp4")).await;
        let (attempt, stop) = harness.begin(id).await;
        crate::support::until("the first checkpoint", || async { harness.checkpoint(id).await }).await;
        stop.stop();
        attempt.await.unwrap();
        let row = harness.row(id).await;
        assert_eq!((row.outcome(), row.attempts), (("pending", None), 0), "{id}");
        assert_eq!(harness.checkpoint(id).await, Some(PART), "{id}");
        harness.attempt(id).await;
        harness.assert_stored(id, &file).await;
        assert_eq!(origin.offsets(), [0, PART as u64], "{id}");
    }
}

#[sqlx::test]
async fn a_worker_that_resumes_and_dies_at_once_loses_nothing(pool: PgPool) {
    let file = noise(LENGTH, 5);
    for (harness, id) in Harness::both(&pool).await.iter().zip(["folder", "bucket"]) {
        let origin = Origin::start(file.clone()).await;
        origin.next([Step::cut(PART + 10), Step::status(503), Step::hold(1000)]);
        harness.queue(id, origin.url("a.mp4")).await;
        harness.attempt(id).await;
        let (attempt, _stop) = harness.begin(id).await;
        origin.wait_for_requests(3).await;
        let taken = || async {
            // In a folder, the part now has the second worker's name.
            let sql = "SELECT upload FROM checkpoints JOIN downloads USING (render_id, index)
                       WHERE render_id = $1 AND (upload LIKE '{%' OR upload LIKE '%' || replace(lease::text, '-', '') || '%')";
            sqlx::query_scalar::<_, String>(sql).bind(id).fetch_optional(&pool).await.unwrap()
        };
        crate::support::until("the part to be taken over", taken).await;
        // Like a killed process, it settles nothing.
        attempt.abort();
        assert!(attempt.await.unwrap_err().is_cancelled());
        harness.attempt(id).await;
        harness.assert_stored(id, &file).await;
        assert_eq!(*origin.offsets().last().unwrap(), PART as u64, "{id}");
    }
}

#[sqlx::test]
async fn a_file_that_changes_between_attempts_is_fetched_again(pool: PgPool) {
    let (before, after) = (noise(LENGTH, 6), noise(LENGTH, 7));
    for (harness, id) in Harness::both(&pool).await.iter().zip(["folder", "bucket"]) {
        let origin = Origin::start(before.clone()).await;
        origin.next([Step::cut(PART + 10), Step::status(503)]);
        harness.queue(id, origin.url("a.mp4")).await;
        harness.attempt(id).await;
        origin.change(after.clone());
        harness.attempt(id).await;
        harness.assert_stored(id, &after).await;
    }
}

#[sqlx::test]
async fn two_versions_of_a_file_are_never_combined(pool: PgPool) {
    let (before, after) = (noise(LENGTH, 8), noise(LENGTH, 9));
    for (harness, id) in Harness::both(&pool).await.iter().zip(["folder", "bucket"]) {
        let origin = Origin::start(before.clone()).await;
        origin.next([Step { cut: Some(PART + 10), hold: Some(PART), ..Step::default() }]);
        harness.queue(id, origin.url("a.mp4")).await;
        let (attempt, _stop) = harness.begin(id).await;
        origin.wait_for_requests(1).await;
        origin.change(after.clone());
        origin.release();
        attempt.await.unwrap();
        assert_eq!(harness.row(id).await.state, "pending", "{id}");
        harness.assert_nothing(id).await;
        harness.attempt(id).await;
        harness.assert_stored(id, &after).await;
    }
}

#[sqlx::test]
async fn an_answer_with_a_wrong_range_is_not_used(pool: PgPool) {
    let file = noise(LENGTH, 10);
    let harness = Harness::folder(&pool);
    let last = LENGTH - 1;
    let wrong = [
        ("content-range", format!("bytes 0-{last}/{LENGTH}")),
        ("content-range", format!("bytes {}-{last}/{LENGTH}", PART + 1)),
        ("content-range", format!("bytes {PART}-{last}/{}", LENGTH + 1)),
        ("content-range", format!("bytes {PART}-{}/{LENGTH}", last - 1)),
        ("content-range", format!("bytes {PART}-{last}/*")),
        ("content-range", String::new()),
        ("etag", "\"another\"".to_owned()),
    ];
    for (number, (name, value)) in wrong.into_iter().enumerate() {
        let id = &format!("wrong{number}");
        let origin = Origin::start(file.clone()).await;
        origin.next([Step::cut(PART + 10), Step::status(503), Step::default().with(name, value)]);
        harness.queue(id, origin.url("a.mp4")).await;
        harness.attempt(id).await;
        assert_eq!(harness.checkpoint(id).await, Some(PART));
        harness.attempt(id).await;
        harness.assert_stored(id, &file).await;
        assert_eq!(origin.offsets()[2..], [PART as u64, 0], "{id}: the rest was requested, then the whole");
    }
}

#[sqlx::test]
async fn without_a_strong_validator_it_starts_over(pool: PgPool) {
    let file = noise(LENGTH, 11);
    let harness = Harness::folder(&pool);
    for (id, etag) in [("none", ""), ("weak", "W/\"v1\"")] {
        let origin = Origin::start(file.clone()).await;
        origin.always(Step::default().with("etag", etag));
        origin.next([Step::cut(PART + 10).with("etag", etag)]);
        harness.queue(id, origin.url("a.mp4")).await;
        assert_eq!(harness.attempt(id).await.outcome(), ("pending", Some("broken_off")), "{id}");
        harness.assert_nothing(id).await;
        harness.attempt(id).await;
        harness.assert_stored(id, &file).await;
        assert_eq!(origin.offsets(), [0, 0], "{id}");
    }
}

#[sqlx::test]
async fn a_server_without_range_support_sends_the_whole_file_again(pool: PgPool) {
    let file = noise(LENGTH, 12);
    for (harness, id) in Harness::both(&pool).await.iter().zip(["folder", "bucket"]) {
        let origin = Origin::start(file.clone()).await;
        origin.always(Step { whole: true, ..Step::default() });
        origin.next([Step::cut(PART + 10)]);
        harness.queue(id, origin.url("a.mp4")).await;
        assert_eq!(harness.attempt(id).await.state, "pending", "{id}");
        harness.assert_nothing(id).await;
        harness.attempt(id).await;
        harness.assert_stored(id, &file).await;
    }
}

#[sqlx::test]
async fn a_file_of_unknown_length_is_complete_only_with_its_last_chunk(pool: PgPool) {
    let file = noise(LENGTH, 13);
    for (harness, id) in Harness::both(&pool).await.iter().zip(["folder", "bucket"]) {
        let origin = Origin::start(file.clone()).await;
        let chunked = Step { length: Length::Chunked, ..Step::default() };
        origin.next([Step { cut: Some(PART + 10), ..chunked.clone() }, Step::status(503), Step::status(416), chunked]);
        harness.queue(id, origin.url("a.mp4")).await;
        assert_eq!(harness.attempt(id).await.state, "pending", "{id}");
        assert!(harness.object(id).is_none(), "{id}");
        harness.attempt(id).await;
        harness.assert_stored(id, &file).await;
        assert_eq!(origin.offsets()[2..], [PART as u64, 0], "{id}: 416 is a reason to start over");
    }
}
