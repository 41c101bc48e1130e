//! Room for connections: who gets it, and who yields.

use futures::future::join_all;
use renderhook::http::Limits;
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::support::app::{TOKEN, signed, video};
use crate::support::raw::{Wire, begin_delivery, exchange};
use crate::support::{App, Options, until};

const LIVEZ: &str = "GET /livez HTTP/1.1\r\nhost: h\r\n\r\n";

fn limits(connections: usize) -> Options {
    let http_limits = Limits { connections, reserved_connections: 2, ..Limits::default() };
    Options { http_limits, ..Options::default() }
}

#[sqlx::test]
async fn idle_strangers_make_room_for_others(pool: PgPool) {
    let app = App::start_with(&pool, limits(8)).await;
    let mut strangers = join_all((0..40).map(|_| Wire::to(&app.base))).await;
    for stranger in strangers.iter_mut().step_by(2) {
        stranger.send("POST /webhook HTTP/1.1\r\n").await;
    }
    let mut keep_alive = Wire::to(&app.base).await;
    for _ in 0..3 {
        keep_alive.send(LIVEZ).await;
        assert_eq!(keep_alive.receive().await.unwrap().status, 200);
    }
    assert_eq!(app.post(&video("between", "rendering").event("video.started")).await.status, 200);
    // The first to come is the first to go.
    assert!(strangers[1].receive().await.is_none(), "the stranger stayed");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn clients_that_pipeline_and_never_read_make_room_for_others(pool: PgPool) {
    let app = App::start_with(&pool, limits(4)).await;
    let mut pipelines = JoinSet::new();
    for _ in 0..6 {
        let mut wire = Wire::to(&app.base).await;
        pipelines.spawn(async move { while wire.send(LIVEZ.repeat(1000)).await {} });
    }
    // Those that were cut off for the sake of others have ended.
    pipelines.join_next().await.unwrap().unwrap();
    assert_eq!(exchange(&app.base, LIVEZ).await.unwrap().status, 200);
    // 503 as long as all of them are being answered, before the buffers are full.
    let event = video("between", "rendering").event("video.started");
    until("the delivery to be recorded", || async { (app.post(&event).await.status == 200).then_some(()) }).await;
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn health_checks_are_answered_while_every_connection_is_busy(pool: PgPool) {
    let mut options = limits(3);
    options.http_limits.body_timeout = std::time::Duration::from_mins(1);
    let app = App::start_with(&pool, options).await;
    let mut busy = Vec::new();
    for _ in 0..3 {
        busy.push(begin_delivery(&app).await);
    }
    // Idle strangers do not take what is reserved.
    let _strangers = join_all((0..10).map(|_| Wire::to(&app.base))).await;
    for path in ["/livez", "/readyz"] {
        let mut wire = Wire::to(&app.base).await;
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        assert_eq!(wire.receive().await.unwrap().status, 200, "{path}");
        assert!(wire.receive().await.is_none(), "the connection stayed");
    }
    let ask = format!("GET /renders HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    let reply = exchange(&app.base, &ask).await.unwrap();
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{reply:?}");

    busy.pop();
    until("a place to be free", || async {
        (exchange(&app.base, &ask).await.is_some_and(|reply| reply.status == 200)).then_some(())
    })
    .await;
    app.shutdown.stop();
    drop(busy);
    app.stop().await.unwrap();
}

#[cfg(target_os = "linux")]
mod descriptors {
    use tempfile::TempDir;
    use tokio::process::Command;

    use super::*;
    use crate::support::origin::Origin;
    use crate::support::process::{Service, database_url, serve};

    /// `serve` under the limits that `ulimit` sets.
    fn limited(serve: &Command, ulimit: &str) -> Command {
        let serve = serve.as_std();
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("{ulimit} && exec \"$0\" \"$@\""))
            .arg(serve.get_program())
            .args(serve.get_args());
        let set = serve.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.env_clear().envs(set).kill_on_drop(true);
        command
    }

    #[sqlx::test]
    async fn the_soft_limit_is_raised_to_the_hard_limit(pool: PgPool) {
        let folder = TempDir::new().unwrap();
        let command = limited(&serve(&database_url(&pool), &folder), "ulimit -Sn 300 && ulimit -Hn 2000");
        let service = Service::start(command).await;
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", service.pid())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(line.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["2000", "2000"], "{line}");
        service.stop().await;
    }

    #[sqlx::test]
    async fn idle_strangers_do_not_take_the_descriptors_of_downloads(pool: PgPool) {
        let (folder, origin) = (TempDir::new().unwrap(), Origin::start().await);
        origin.release();
        let command = limited(&serve(&database_url(&pool), &folder), "ulimit -n 400");
        let service = Service::start(command).await;
        let strangers = join_all((0..600).map(|_| async {
            let mut wire = Wire::to(&service.base).await;
            // OK to get no answer: later strangers take the places of earlier ones.
            wire.send(LIVEZ).await;
            wire.receive().await;
            wire
        }))
        .await;
        let mut project = video("stored", "complete");
        project.downloads.push(origin.url("slow.bin"));
        let delivery = signed(&project.event("video.completed"));
        assert_eq!(delivery.post(&service.client, &service.at("webhook")).await.unwrap().status, 200);
        until("the file to be stored", || async {
            (service.get("renders/stored").await.1["archive"] == "stored").then_some(())
        })
        .await;
        for event in ["download.retried", "download.postponed", "database.lost"] {
            assert_eq!(service.log.events(event).len(), 0, "{event}");
        }
        let open = std::fs::read_dir(format!("/proc/{}/fd", service.pid())).unwrap().count();
        // A quarter of the limit and more is left for files, and as much for the database and the store.
        assert!((90..250).contains(&open), "{open}");
        drop(strangers);
        service.stop().await;
    }
}
