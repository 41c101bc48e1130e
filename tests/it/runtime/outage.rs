//! Outages of Postgres, with the real binary.

use std::time::Duration;

use renderhook::domain::Kind;
use renderhook_dev::standin::{Lifecycle, RenderPlan, SignedRequest, Stage};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::app::{signed, signed_at, video};
use crate::support::postgres_proxy::{PostgresProxy, ProxyMode};
use crate::support::process::{Service, database_url, serve};
use crate::support::rows::count;
use crate::support::{standin, until};

/// The time limit of an answer, as documented.
const ANSWER: Duration = Duration::from_secs(8);

struct OutageTest {
    service: Service,
    proxy: PostgresProxy,
    _folder: TempDir,
}

impl OutageTest {
    async fn set(pool: &PgPool) -> Self {
        Self::set_with(pool, &[]).await
    }

    async fn set_with(pool: &PgPool, flags: &[String]) -> Self {
        let (proxy, folder) = (PostgresProxy::start(&database_url(pool)).await, TempDir::new().unwrap());
        let mut command = serve(&proxy.url(), &folder);
        command.args(flags);
        // No workers, because their statements would also detect the outage.
        command.env("DOWNLOAD_CONCURRENCY", "0");
        let test = Self { service: Service::start(command).await, proxy, _folder: folder };
        assert_eq!(test.post(&started("warm")).await, 200);
        test
    }

    async fn post(&self, delivery: &SignedRequest) -> u16 {
        let answer = delivery.post(&self.service.client, &self.service.at("webhook")).await.unwrap();
        assert!(answer.body.starts_with(r#"{"message":""#), "{}", answer.body);
        answer.status.as_u16()
    }

    /// Posts a delivery that cannot be recorded, and expects 503 in time, without the cause.
    async fn refused(&self, delivery: &SignedRequest) {
        assert_eq!(timeout(ANSWER, self.post(delivery)).await.expect("an answer in time"), 503);
    }

    /// Retries like Magic Hour until the delivery is accepted.
    async fn accepted(&self, delivery: &SignedRequest) {
        until("the event to be taken", || async {
            let status = self.post(delivery).await;
            assert!(matches!(status, 200 | 503), "{status}");
            (status == 200).then_some(())
        })
        .await;
    }

    /// The number of log lines with this event.
    fn logged(&self, event: &str) -> usize {
        self.service.log.events(event).len()
    }

    async fn until_logged(&self, event: &str, count: usize) {
        until(event, || async { (self.logged(event) == count).then_some(()) }).await;
    }
}

fn started(id: &str) -> SignedRequest {
    signed(&video(id, "rendering").event("video.started"))
}

/// The numbers of rows for a render: renders, transitions, and deliveries.
async fn known(pool: &PgPool, id: &str) -> (i64, i64, i64) {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM renders WHERE id = $1), (SELECT count(*) FROM transitions WHERE render_id = $1),
            (SELECT count(*) FROM deliveries WHERE render_id = $1)",
    )
    .bind(id)
    .fetch_one(pool)
    .await
    .unwrap()
}

#[sqlx::test]
async fn a_lost_database_is_logged_once_and_used_again_without_a_restart(pool: PgPool) {
    let test = OutageTest::set(&pool).await;
    test.proxy.set(ProxyMode::Refused);
    for at in 0..5 {
        test.refused(&started(&format!("refused-{at}"))).await;
    }
    assert_eq!(test.service.get("readyz").await.0, 503);
    assert_eq!(test.service.get("livez").await.0, 200);
    assert_eq!(test.service.get("renders/warm").await.0, 503);
    test.until_logged("database.lost", 1).await;
    assert_eq!(test.logged("database.restored"), 0);

    test.proxy.set(ProxyMode::Open);
    for at in 0..5 {
        test.accepted(&started(&format!("refused-{at}"))).await;
        assert_eq!(known(&pool, &format!("refused-{at}")).await, (1, 1, 1));
    }
    assert_eq!(test.service.get("readyz").await.0, 200);
    assert_eq!(test.service.get("renders/warm").await.0, 200);
    test.until_logged("database.restored", 1).await;
    assert_eq!(test.logged("database.lost"), 1);
    test.service.stop().await;
}

#[sqlx::test]
async fn requests_get_503_in_time_while_the_database_hangs_and_work_again_afterwards(pool: PgPool) {
    let test = OutageTest::set(&pool).await;
    test.proxy.set(ProxyMode::Stalled);
    // More than there are connections, so that none still works.
    let deliveries: Vec<_> = (0..40).map(|at| started(&format!("stalled-{at}"))).collect();
    futures::future::join_all(deliveries.iter().map(|delivery| test.refused(delivery))).await;
    assert_eq!(test.service.get("readyz").await.0, 503);
    test.until_logged("database.lost", 1).await;
    assert_eq!(test.logged("database.restored"), 0);

    // The old connections hang forever. Only new ones work.
    test.proxy.set(ProxyMode::Open);
    futures::future::join_all(deliveries.iter().map(|delivery| test.accepted(delivery))).await;
    assert_eq!((count(&pool, "renders").await, count(&pool, "transitions").await), (41, 41));
    test.until_logged("database.restored", 1).await;
    assert_eq!(test.logged("database.lost"), 1);
    test.service.stop().await;
}

#[sqlx::test]
async fn frozen_connections_are_replaced(pool: PgPool) {
    let test = OutageTest::set(&pool).await;
    let events = |name: &str| -> Vec<_> { (0..40).map(|at| started(&format!("{name}-{at}"))).collect() };
    let asked = || futures::future::join_all((0..40).map(|_| test.service.get("renders?limit=1")));
    // Opens all connections of the pool, because events and single renders share a few.
    assert!(asked().await.iter().all(|(status, _)| *status == 200));
    test.proxy.set(ProxyMode::Frozen);
    let in_flight = events("frozen");
    let posted = futures::future::join_all(in_flight.iter().map(|delivery| test.post(delivery)));
    futures::future::join(posted, asked()).await;
    futures::future::join_all(in_flight.iter().map(|delivery| test.accepted(delivery))).await;
    test.until_logged("database.reconnected", 1).await;
    // The database was reachable all the time.
    assert_eq!(test.logged("database.lost"), 0);
    test.service.stop().await;
}

#[sqlx::test]
async fn a_statement_that_waits_for_a_lock_does_not_count_as_an_outage(pool: PgPool) {
    let test = OutageTest::set(&pool).await;
    let mut lock = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE renders").execute(&mut *lock).await.unwrap();
    test.refused(&started("late")).await;
    test.until_logged("database.slow", 1).await;
    lock.rollback().await.unwrap();
    test.accepted(&started("late")).await;
    assert_eq!((test.logged("database.lost"), test.logged("database.refused")), (0, 0));
    test.service.stop().await;
}

#[sqlx::test]
async fn a_stricter_default_isolation_level_rejects_no_event(pool: PgPool) {
    let name = pool.connect_options().get_database().unwrap().to_owned();
    let set = format!("ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'");
    sqlx::query(sqlx::AssertSqlSafe(set)).execute(&pool).await.unwrap();
    let test = OutageTest::set(&pool).await;
    for round in 0..10 {
        let sent: Vec<_> = (0..32).map(|_| started(&format!("same-{round}"))).collect();
        let answers = futures::future::join_all(sent.iter().map(|delivery| test.post(delivery))).await;
        assert_eq!(answers, [200; 32]);
    }
    test.service.stop().await;
}

#[sqlx::test]
async fn an_event_is_recorded_once_if_the_connection_breaks_and_it_is_sent_again(pool: PgPool) {
    let test = OutageTest::set(&pool).await;
    let table = [
        ("cut-before-it-arrives", (0, 0, 0), (1, 1, 1)),
        ("cut-after-the-commit", (1, 1, 1), (1, 1, 2)),
        ("hang-after-the-commit", (1, 1, 1), (1, 1, 2)),
    ];
    for (id, after_the_cut, in_the_end) in table {
        let word = id.as_bytes().to_vec();
        test.proxy.set(match id {
            "cut-before-it-arrives" => ProxyMode::CutBefore(word),
            "cut-after-the-commit" => ProxyMode::CutAfter(word),
            _ => ProxyMode::HangAfter(word),
        });
        let delivery = started(id);
        test.refused(&delivery).await;
        test.proxy.set(ProxyMode::Open);
        assert_eq!(known(&pool, id).await, after_the_cut, "{id}");
        test.accepted(&delivery).await;
        assert_eq!(known(&pool, id).await, in_the_end, "{id}");
    }
    // The third was not an outage, because new connections worked all the time.
    test.until_logged("database.restored", 2).await;
    assert_eq!(test.logged("database.lost"), 2);
    test.service.stop().await;
}

#[sqlx::test]
async fn a_connection_that_is_cut_between_any_two_round_trips_leaves_no_partial_state(pool: PgPool) {
    let test = OutageTest::set(&pool).await;
    let mut cuts = 0;
    loop {
        let id = format!("cut-{cuts}");
        let delivery = started(&id);
        test.proxy.set(ProxyMode::CutWhileRecording(cuts));
        let status = test.post(&delivery).await;
        test.proxy.set(ProxyMode::Open);
        if status == 200 {
            break;
        }
        assert_eq!((status, known(&pool, &id).await), (503, (0, 0, 0)), "{id}");
        test.accepted(&delivery).await;
        assert_eq!(known(&pool, &id).await, (1, 1, 1), "{id}");
        cuts += 1;
    }
    assert!(cuts >= 5, "BEGIN, lock, render, history, COMMIT: {cuts}");
    test.service.stop().await;
}

#[sqlx::test]
async fn stopping_does_not_wait_for_a_silent_database(pool: PgPool) {
    let mut test = OutageTest::set(&pool).await;
    test.proxy.set(ProxyMode::Stalled);
    test.refused(&started("last")).await;
    test.service.signal(rustix::process::Signal::TERM);
    let ended = timeout(Duration::from_secs(10), test.service.ended()).await;
    assert!(ended.expect("within ten seconds").success());
}

#[sqlx::test]
async fn renders_are_polled_soon_after_an_outage_of_the_database(pool: PgPool) {
    let magic_hour = standin().await;
    let test = OutageTest::set_with(&pool, &magic_hour.serve_flags()).await;
    // An event arrived a moment ago, so without an outage it would be polled in five minutes.
    assert_eq!(test.post(&started("missed")).await, 200);
    test.proxy.set(ProxyMode::Refused);
    test.refused(&signed(&video("missed", "error").event("video.errored"))).await;
    magic_hour
        .start_render(RenderPlan::new(Kind::Video, "missed", Lifecycle::starting_in(Stage::error("no_source_face"))))
        .unwrap();
    test.until_logged("database.lost", 1).await;
    test.proxy.set(ProxyMode::Open);
    until("the render to be polled", || async {
        let (_, render) = test.service.get("renders/missed").await;
        (render["status"] == "error" && render["transitions"][1]["source"] == "poll").then_some(())
    })
    .await;
    test.service.stop().await;
}

#[sqlx::test]
async fn a_pause_requested_by_magic_hour_survives_an_outage_of_the_database(pool: PgPool) {
    let magic_hour = standin().await;
    let test = OutageTest::set_with(&pool, &magic_hour.serve_flags()).await;
    magic_hour.fail_next([(429, Some(3600))]);
    // The delivery is stale, so its render is polled at once.
    assert_eq!(test.post(&signed_at(0, &video("asked", "rendering").event("video.started"))).await, 401);
    test.until_logged("upstream.paused", 1).await;
    let due = "UPDATE renders SET poll_due_at = now() + interval '1 hour'";
    sqlx::query(due).execute(&pool).await.unwrap();
    test.proxy.set(ProxyMode::Refused);
    test.refused(&started("other")).await;
    test.proxy.set(ProxyMode::Open);
    until("the polls to be made due again", || async {
        let due = "SELECT poll_due_at <= now() FROM renders WHERE id = 'asked'";
        sqlx::query_scalar::<_, bool>(due).fetch_one(&pool).await.unwrap().then_some(())
    })
    .await;
    let left: f64 =
        sqlx::query_scalar("SELECT extract(epoch FROM paused_until - now())::float8 FROM upstream_accounts")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert!(left > 3000.0, "{left} s of the hour are left");
    test.service.stop().await;
}
