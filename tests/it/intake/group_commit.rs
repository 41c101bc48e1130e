//! Group commit: what arrives together is committed together, and each sender gets its own result.

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use renderhook::domain::Status::{Complete, Rendering};
use renderhook::intake::{QueueLimits, RecordError, RecordOutcome, RecordRules, Recorder};
use renderhook::runtime::{Clock, Database};
use renderhook_dev::standin::SignedRequest;
use sqlx::PgPool;

use crate::support::app::{signed, video};
use crate::support::observations::{at, completed, connections, counts, history, now, status_report};
use crate::support::raw::exchange;
use crate::support::{App, Options, until};

fn recorder(pool: &PgPool) -> Recorder {
    Recorder::start(
        Database::from_pool(pool.clone()),
        Clock::from_fn(now),
        RecordRules::default(),
        QueueLimits::default(),
    )
}

#[sqlx::test]
async fn what_arrives_while_a_batch_commits_is_committed_with_the_next(pool: PgPool) {
    let recorder = recorder(&connections(&pool, 4));
    let sent =
        (0..300).map(|n| recorder.record(completed(&format!("r{n}"), &["https://files.example/a"], None, at(1))));
    for recorded in join_all(sent).await {
        let (_, recorded) = recorded.unwrap();
        assert_eq!((recorded.outcome, recorded.transition.map(|it| it.to)), (RecordOutcome::Recorded, Some(Complete)));
    }
    assert_eq!(counts(&pool).await, (300, 300, 300, 300));
    let commits: i64 =
        sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM deliveries").fetch_one(&pool).await.unwrap();
    assert!(commits < 30, "{commits} commits");
}

#[sqlx::test]
async fn an_event_that_the_database_refuses_fails_alone(pool: PgPool) {
    sqlx::query("ALTER TABLE renders ADD CONSTRAINT refused CHECK (id <> 'r7')").execute(&pool).await.unwrap();
    let recorder = recorder(&connections(&pool, 4));
    let sent = (0..40).map(|n| recorder.record(status_report(&format!("r{n}"), Some(Rendering), at(1))));
    for (n, recorded) in join_all(sent).await.into_iter().enumerate() {
        assert_eq!(recorded.is_ok(), n != 7, "r{n}: {recorded:?}");
    }
    assert_eq!(counts(&pool).await, (39, 39, 39, 0));
    // It does not poison what comes after it.
    assert!(recorder.record(status_report("r41", Some(Rendering), at(1))).await.is_ok());
}

#[sqlx::test]
async fn an_event_of_a_render_that_this_version_cannot_read_fails_alone(pool: PgPool) {
    let recorder = recorder(&connections(&pool, 4));
    let report = |n: i32, status| recorder.record(status_report(&format!("r{n}"), Some(status), at(1)));
    report(7, Rendering).await.unwrap();
    sqlx::query("UPDATE renders SET field_versions = '{1}'").execute(&pool).await.unwrap();
    for (n, recorded) in join_all((0..40).map(|n| report(n, Complete))).await.into_iter().enumerate() {
        assert_eq!(recorded.is_ok(), n != 7, "r{n}: {recorded:?}");
    }
}

#[sqlx::test]
async fn an_event_that_arrives_while_the_partition_of_its_day_is_attached_is_recorded(pool: PgPool) {
    const ATTACH: &str = "CREATE TABLE its_day (LIKE deliveries INCLUDING ALL);
        ALTER TABLE deliveries ATTACH PARTITION its_day FOR VALUES FROM ('2000-01-01') TO ('2100-01-01')";
    let recorder = recorder(&connections(&pool, 2));
    let mut attaching = pool.begin().await.unwrap();
    sqlx::raw_sql(ATTACH).execute(&mut *attaching).await.unwrap();
    let recording = tokio::spawn(async move { recorder.record(completed("r1", &[], None, at(1))).await });
    until("the event to wait", || async { (blocked_batches(&pool, "deliveries_default").await == 1).then_some(()) })
        .await;
    attaching.commit().await.unwrap();
    assert_eq!(recording.await.unwrap().unwrap().1.outcome, RecordOutcome::Recorded);
    let in_partition: i64 = sqlx::query_scalar("SELECT count(*) FROM its_day").fetch_one(&pool).await.unwrap();
    assert_eq!(in_partition, 1);
}

#[sqlx::test]
async fn the_same_render_in_many_batches_of_several_processes_moves_once(pool: PgPool) {
    let recorders =
        [recorder(&connections(&pool, 3)), recorder(&connections(&pool, 3)), recorder(&connections(&pool, 3))];
    let sent = recorders.iter().cycle().take(600).enumerate().map(|(n, recorder)| {
        let id = format!("r{}", n % 7);
        let status = if n % 2 == 0 { Rendering } else { Complete };
        recorder.record(status_report(&id, Some(status), at(i64::try_from(n % 5).unwrap())))
    });
    let recorded: Vec<_> = join_all(sent).await.into_iter().map(|recorded| recorded.unwrap().1).collect();
    let mut moves = 0;
    for n in 0..7 {
        let history = history(&pool, &format!("r{n}")).await;
        assert_eq!(history.last().map(|(_, to)| *to), Some(Complete), "r{n}: {history:?}");
        moves += history.len();
    }
    assert_eq!(recorded.iter().filter(|it| it.transition.is_some()).count(), moves);
    let new = recorded.iter().filter(|it| it.outcome != RecordOutcome::Duplicate).count();
    assert_eq!(new, 7 * 2, "each event of each render is news once");
}

#[sqlx::test]
async fn what_was_accepted_is_recorded_also_if_recording_stops(pool: PgPool) {
    let recorder = recorder(&connections(&pool, 2));
    let sent: Vec<_> = (0..50)
        .map(|n| {
            let (recorder, event) = (recorder.clone(), status_report(&format!("r{n}"), Some(Rendering), at(1)));
            tokio::spawn(async move { recorder.record(event).await })
        })
        .collect();
    drop(recorder);
    for recorded in join_all(sent).await {
        assert!(recorded.unwrap().is_ok());
    }
    assert_eq!(counts(&pool).await, (50, 50, 50, 0));
}

#[sqlx::test]
async fn a_batch_that_cannot_be_committed_in_time_fails_whole_and_its_repetition_is_harmless(pool: PgPool) {
    let recorder = recorder(&connections(&pool, 4));
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE renders").execute(&mut *lock).await.unwrap();
    let events: Vec<_> = (0..20).map(|n| status_report(&format!("r{n}"), Some(Rendering), at(1))).collect();
    for recorded in join_all(events.iter().cloned().map(|event| recorder.record(event))).await {
        assert!(recorded.is_err());
    }
    lock.rollback().await.unwrap();
    for recorded in join_all(events.iter().cloned().map(|event| recorder.record(event))).await {
        assert!(recorded.is_ok());
    }
    assert_eq!(counts(&pool).await, (20, 20, 20, 0));
}

/// A whole signed request.
fn delivery(event: &[u8]) -> Vec<u8> {
    let SignedRequest { timestamp, signature, body } = signed(event);
    let head = format!(
        "POST /webhook HTTP/1.1\r\nhost: h\r\nmagic-hour-event-signature: {signature}\r\n\
         magic-hour-event-timestamp: {timestamp}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

/// How many batches wait for a lock of `table`.
async fn blocked_batches(pool: &PgPool, table: &str) -> i64 {
    let blocked = "SELECT count(*) FROM pg_locks WHERE relation = $1::text::regclass AND NOT granted";
    sqlx::query_scalar(blocked).bind(table).fetch_one(pool).await.unwrap()
}

#[sqlx::test]
async fn a_full_queue_answers_503_at_once_and_what_waits_in_it_is_recorded(pool: PgPool) {
    let queue_limits = QueueLimits { observations: 3, ..QueueLimits::default() };
    let app = App::start_with(&pool, Options { queue_limits, ..Options::default() }).await;
    let pool = connections(&pool, 2);
    let send = |n: usize| {
        let (base, event) = (app.base.clone(), video(&format!("r{n}"), "rendering").event("video.started"));
        tokio::spawn(async move { exchange(&base, delivery(&event)).await.unwrap() })
    };
    let mut sent = FuturesUnordered::new();
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE renders").execute(&mut *lock).await.unwrap();
    // Two batches in flight, which cannot commit, and as many waiting as there is room for.
    for n in 0..2 {
        sent.push(send(n));
        let in_flight = i64::try_from(n + 1).unwrap();
        until("a batch to wait for the lock", || async {
            (blocked_batches(&pool, "renders").await == in_flight).then_some(())
        })
        .await;
    }
    sent.extend((2..9).map(send));
    for _ in 0..4 {
        let refused = sent.next().await.unwrap().unwrap();
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    }
    lock.rollback().await.unwrap();
    let recorded: Vec<_> = sent.map(|reply| reply.unwrap().status).collect().await;
    assert_eq!(recorded, [200; 5]);
    assert_eq!(counts(&pool).await, (5, 5, 5, 0));
}

#[sqlx::test]
async fn the_bytes_that_wait_are_bounded_and_a_body_larger_than_the_bound_is_recorded_alone(pool: PgPool) {
    let limits = QueueLimits { bytes: 1, ..QueueLimits::default() };
    let recorder =
        Recorder::start(Database::from_pool(pool.clone()), Clock::from_fn(now), RecordRules::default(), limits);
    let [first, second] = ["a", "b"].map(|id| recorder.record(status_report(id, Some(Rendering), at(1))));
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap().1.outcome, RecordOutcome::Recorded);
    assert!(matches!(second.unwrap_err(), RecordError::QueueFull));
    recorder.record(status_report("b", Some(Rendering), at(1))).await.unwrap();
}
