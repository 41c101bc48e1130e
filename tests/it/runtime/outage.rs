//! Postgres goes and comes back, under the real binary.

use std::time::Duration;

use renderhook::domain::Kind;
use renderhook_dev::standin::{Delivery, Lifecycle, RenderPlan, Stage as RenderStage};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use crate::support::app::{signed, video};
use crate::support::cutter::{Proxy, Way};
use crate::support::process::{Service, database_url, serve};
use crate::support::rows::count;
use crate::support::{standin, until};

/// The database gets 3 s; the machine that runs the tests gets some more.
const ABOUT_FOUR: Duration = Duration::from_millis(4500);

struct Stage {
    service: Service,
    proxy: Proxy,
    _folder: TempDir,
}

impl Stage {
    async fn set(pool: &PgPool) -> Self {
        Self::set_with(pool, &[]).await
    }

    async fn set_with(pool: &PgPool, flags: &[String]) -> Self {
        let (proxy, folder) = (Proxy::start(&database_url(pool)).await, TempDir::new().unwrap());
        let mut command = serve(&proxy.url(), &folder);
        command.args(flags);
        // The workers' own statements would lose and find the database as well.
        command.env("DOWNLOAD_CONCURRENCY", "0");
        let stage = Self { service: Service::start(command).await, proxy, _folder: folder };
        assert_eq!(stage.post(&started("warm")).await, 200);
        stage
    }

    async fn post(&self, delivery: &Delivery) -> u16 {
        let answer = delivery.post(&self.service.client, &self.service.at("webhook")).await.unwrap();
        assert!(answer.body.starts_with(r#"{"message":""#), "{}", answer.body);
        answer.status.as_u16()
    }

    /// Posts a delivery that cannot be recorded: 503, in time, and nothing of the cause.
    async fn refused(&self, delivery: &Delivery) {
        let begun = Instant::now();
        assert_eq!(self.post(delivery).await, 503);
        assert!(begun.elapsed() < ABOUT_FOUR, "{:?}", begun.elapsed());
    }

    /// Sends again as Magic Hour does, until it is taken.
    async fn taken(&self, delivery: &Delivery) {
        until("the event to be taken", || async {
            let status = self.post(delivery).await;
            assert!(matches!(status, 200 | 503), "{status}");
            (status == 200).then_some(())
        })
        .await;
    }

    fn told(&self, event: &str) -> usize {
        self.service.log.telling(event).len()
    }
}

fn started(id: &str) -> Delivery {
    signed(&video(id, "rendering").event("video.started"))
}

/// How often a render is known, moved, and delivered.
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
async fn a_database_that_refuses_is_told_once_and_served_again_without_a_restart(pool: PgPool) {
    let stage = Stage::set(&pool).await;
    stage.proxy.set(Way::Refused);
    for at in 0..5 {
        stage.refused(&started(&format!("refused-{at}"))).await;
    }
    assert_eq!(stage.service.get("readyz").await.0, 503);
    assert_eq!(stage.service.get("livez").await.0, 200);
    assert_eq!(stage.service.get("renders/warm").await.0, 503);
    assert_eq!((stage.told("database.lost"), stage.told("database.restored")), (1, 0));

    stage.proxy.set(Way::Open);
    for at in 0..5 {
        stage.taken(&started(&format!("refused-{at}"))).await;
        assert_eq!(known(&pool, &format!("refused-{at}")).await, (1, 1, 1));
    }
    assert_eq!(stage.service.get("readyz").await.0, 200);
    assert_eq!(stage.service.get("renders/warm").await.0, 200);
    until("the return to be told", || async { (stage.told("database.restored") == 1).then_some(()) }).await;
    assert_eq!(stage.told("database.lost"), 1);
    stage.service.stop().await;
}

#[sqlx::test]
async fn a_database_that_falls_silent_is_answered_for_in_time_and_its_connections_are_given_up(pool: PgPool) {
    let stage = Stage::set(&pool).await;
    stage.proxy.set(Way::Stalled);
    // More than there are connections, so that none is left that works.
    let deliveries: Vec<_> = (0..40).map(|at| started(&format!("stalled-{at}"))).collect();
    futures::future::join_all(deliveries.iter().map(|delivery| stage.refused(delivery))).await;
    assert_eq!(stage.service.get("readyz").await.0, 503);
    assert_eq!((stage.told("database.lost"), stage.told("database.restored")), (1, 0));

    // The old connections stay silent for ever; only new ones work.
    stage.proxy.set(Way::Open);
    futures::future::join_all(deliveries.iter().map(|delivery| stage.taken(delivery))).await;
    assert_eq!((count(&pool, "renders").await, count(&pool, "transitions").await), (41, 41));
    assert_eq!((stage.told("database.lost"), stage.told("database.restored")), (1, 1));
    stage.service.stop().await;
}

#[sqlx::test]
async fn an_event_that_was_cut_off_is_there_once_after_it_was_sent_again(pool: PgPool) {
    let stage = Stage::set(&pool).await;
    let table = [
        ("cut-before-it-was-heard", (0, 0, 0), (1, 1, 1)),
        ("cut-after-the-commit", (1, 1, 1), (1, 1, 2)),
        ("mute-after-the-commit", (1, 1, 1), (1, 1, 2)),
    ];
    for (id, after_the_cut, in_the_end) in table {
        let word = id.as_bytes().to_vec();
        stage.proxy.set(match id {
            "cut-before-it-was-heard" => Way::CutBefore(word),
            "cut-after-the-commit" => Way::CutAfter(word),
            _ => Way::MuteAfter(word),
        });
        let delivery = started(id);
        stage.refused(&delivery).await;
        stage.proxy.set(Way::Open);
        assert_eq!(known(&pool, id).await, after_the_cut, "{id}");
        stage.taken(&delivery).await;
        assert_eq!(known(&pool, id).await, in_the_end, "{id}");
    }
    assert_eq!((stage.told("database.lost"), stage.told("database.restored")), (3, 3));
    stage.service.stop().await;
}

#[sqlx::test]
async fn a_stop_does_not_wait_for_a_database_that_is_silent(pool: PgPool) {
    let mut stage = Stage::set(&pool).await;
    stage.proxy.set(Way::Stalled);
    stage.refused(&started("last")).await;
    stage.service.signal(rustix::process::Signal::TERM);
    let ended = timeout(Duration::from_secs(10), stage.service.ended()).await;
    assert!(ended.expect("within ten seconds").success());
}

#[sqlx::test]
async fn what_webhooks_told_while_the_database_was_away_is_asked_for_soon_after(pool: PgPool) {
    let magic_hour = standin().await;
    let stage = Stage::set_with(&pool, &magic_hour.serve_flags()).await;
    // It was spoken of a moment ago: by silence alone it would be asked for in five minutes.
    assert_eq!(stage.post(&started("missed")).await, 200);
    stage.proxy.set(Way::Refused);
    stage.refused(&signed(&video("missed", "error").event("video.errored"))).await;
    magic_hour
        .start_render(RenderPlan::new(
            Kind::Video,
            "missed",
            Lifecycle::starting_in(RenderStage::error("no_source_face")),
        ))
        .unwrap();
    assert_eq!(stage.told("database.lost"), 1);
    stage.proxy.set(Way::Open);
    until("the truth to be found", || async {
        let (_, render) = stage.service.get("renders/missed").await;
        (render["status"] == "error" && render["transitions"][1]["source"] == "poll").then_some(())
    })
    .await;
    stage.service.stop().await;
}
