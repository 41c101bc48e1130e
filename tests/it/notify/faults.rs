//! Posting while processes die, receivers hang, and several processes share the work.

use std::collections::{BTreeMap, BTreeSet};

use renderhook::runtime::Clock;
use rustix::process::Signal;
use sqlx::PgPool;
use tempfile::TempDir;

use crate::support::app::{signed, video};
use crate::support::process::{Service, database_url, serve};
use crate::support::receiver::{Reaction, Receiver};
use crate::support::{App, Options, until};

async fn pending(pool: &PgPool) -> i64 {
    let pending = "SELECT count(*) FROM notifications WHERE state = 'pending'";
    sqlx::query_scalar(pending).fetch_one(pool).await.unwrap()
}

async fn fail(app: &App, id: &str) {
    assert_eq!(app.send("video.errored", &video(id, "error")).await.status, 200);
}

#[sqlx::test]
async fn processes_share_the_work_and_each_notification_is_posted_once(pool: PgPool) {
    let receiver = Receiver::start().await;
    let start = || App::start_with(&pool, Options { flags: receiver.flags(), ..Options::default() });
    let apps = [start().await, start().await, start().await];
    for number in 0..60 {
        fail(&apps[number % 3], &format!("render-{number}")).await;
    }
    until("nothing to be pending", || async { (pending(&pool).await == 0).then_some(()) }).await;
    let received = receiver.received();
    let ids: BTreeSet<_> = received.iter().map(|it| it.id.as_str()).collect();
    assert_eq!((received.len(), ids.len()), (60, 60));
    for app in apps {
        app.stop().await.unwrap();
    }
}

#[sqlx::test]
async fn a_receiver_that_hangs_holds_up_no_webhook_and_no_stop(pool: PgPool) {
    let receiver = Receiver::start().await;
    receiver.react_always(Reaction::Hang);
    let mut options = Options { flags: receiver.flags(), ..Options::default() };
    options.flags.push("--notify-timeout=2s".to_owned());
    let app = App::start_with(&pool, options).await;
    for number in 0..100 {
        fail(&app, &format!("render-{number}")).await;
    }
    receiver.wait_for(renderhook::notify::CONCURRENCY).await;
    let in_progress: i64 = sqlx::query_scalar("SELECT count(*) FROM notifications WHERE lease IS NOT NULL")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(in_progress <= i64::try_from(renderhook::notify::CONCURRENCY).unwrap(), "{in_progress}");
    receiver.react_always(Reaction::Status(200));
    app.stop().await.unwrap();
}

/// Ends the leases of a process that was killed.
async fn expire_leases(pool: &PgPool) {
    // What the server was still doing for the process ends before its leases do.
    let ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sqlx::query(ended).execute(pool).await.unwrap();
    let expired = "UPDATE notifications SET due_at = $1 WHERE lease IS NOT NULL";
    sqlx::query(expired).bind(Clock::system().now()).execute(pool).await.unwrap();
}

/// The types of the notifications of each render, in the order of the posts. Repetitions that directly follow count once.
fn types_by_render(receiver: &Receiver) -> BTreeMap<String, Vec<String>> {
    let mut posted: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for received in receiver.received() {
        let of_render = posted.entry(received.render_id().to_owned()).or_default();
        if of_render.last().is_none_or(|(id, _)| *id != received.id) {
            of_render.push((received.id.clone(), received.kind().to_owned()));
        }
    }
    posted.into_iter().map(|(render, posted)| (render, posted.into_iter().map(|(_, kind)| kind).collect())).collect()
}

/// Lets a service die in the middle of its requests, again and again.
#[sqlx::test]
async fn a_kill_loses_no_notification_and_keeps_the_order_of_each_render(pool: PgPool) {
    let receiver = Receiver::start().await;
    receiver.react_always(Reaction::Hang);
    let folder = TempDir::new().unwrap();
    let start = || {
        let mut command = serve(&database_url(&pool), &folder);
        command.args(receiver.flags()).arg("--notify-events=render.moved,render.failed");
        Service::start(command)
    };
    let mut expected = BTreeMap::new();
    for round in 0..4 {
        let posted = receiver.received().len();
        let mut service = start().await;
        let id = format!("render-{round}");
        for (event_type, status) in [("video.started", "rendering"), ("video.errored", "error")] {
            let delivery = signed(&video(&id, status).event(event_type));
            assert_eq!(delivery.post(&service.client, &service.at("/webhook")).await.unwrap().status, 200);
        }
        expected.insert(id, ["render.moved", "render.moved", "render.failed"].map(str::to_owned).to_vec());
        until("a request of this process", || async { (receiver.received().len() > posted).then_some(()) }).await;
        service.signal(Signal::KILL);
        service.ended().await;
        expire_leases(&pool).await;
    }
    receiver.react_always(Reaction::Status(204));
    let service = start().await;
    until("nothing to be pending", || async { (pending(&pool).await == 0).then_some(()) }).await;
    service.stop().await;
    assert_eq!(
        types_by_render(&receiver),
        expected,
        "each at least once, its repetitions next to each other, and in order"
    );
}

#[sqlx::test]
async fn an_hour_of_nothing_but_errors_is_logged_once_by_one_process(pool: PgPool) {
    let receiver = Receiver::start().await;
    let folder = TempDir::new().unwrap();
    let failing = "UPDATE notify_health SET failing_since = $1";
    let two_hours_ago = Clock::system().now() - chrono::TimeDelta::hours(2);
    sqlx::query(failing).bind(two_hours_ago).execute(&pool).await.unwrap();
    let start = || {
        let mut command = serve(&database_url(&pool), &folder);
        command.args(receiver.flags());
        Service::start(command)
    };
    let first = start().await;
    let line = until("the line", || async { first.log.events("notifications.failing").pop() }).await;
    assert_eq!((&line["level"], line["failing_s"].as_i64().map(|it| it / 60)), (&"ERROR".into(), Some(120)));
    let second = start().await;
    let delivery = signed(&video("clx", "error").event("video.errored"));
    assert_eq!(delivery.post(&second.client, &second.at("/webhook")).await.unwrap().status, 200);
    until("the success to be recorded", || async {
        let since = "SELECT failing_since IS NULL FROM notify_health";
        sqlx::query_scalar::<_, bool>(since).fetch_one(&pool).await.unwrap().then_some(())
    })
    .await;
    assert_eq!(
        (first.log.events("notifications.failing").len(), second.log.events("notifications.failing").len()),
        (1, 0)
    );
    first.stop().await;
    second.stop().await;
}

#[sqlx::test]
async fn a_render_that_cannot_be_read_is_tried_again_and_says_nothing_about_the_receiver(pool: PgPool) {
    let receiver = Receiver::start().await;
    let app = App::start_with(&pool, Options { flags: receiver.flags(), ..Options::default() }).await;
    sqlx::query("ALTER TABLE credits DROP CONSTRAINT credits_source_known").execute(&pool).await.unwrap();
    assert_eq!(app.send("video.started", &video("odd", "rendering")).await.status, 200);
    let newer = "INSERT INTO credits (render_id, value, source, at) VALUES ('odd', 1, 'a newer version', $1)";
    sqlx::query(newer).bind(Clock::system().now()).execute(&pool).await.unwrap();
    fail(&app, "odd").await;
    let attempted = "SELECT error FROM notifications WHERE state = 'pending' AND attempts = 1 AND lease IS NULL";
    let error: String =
        until("an attempt", || async { sqlx::query_scalar(attempted).fetch_optional(&pool).await.unwrap() }).await;
    assert_eq!(error, "this version cannot read the render");
    let healthy = "SELECT failing_since IS NULL FROM notify_health";
    assert!(sqlx::query_scalar::<_, bool>(healthy).fetch_one(&pool).await.unwrap());
    assert!(receiver.received().is_empty());

    sqlx::query("DELETE FROM credits WHERE source = 'a newer version'").execute(&pool).await.unwrap();
    let due = "UPDATE notifications SET due_at = $1 WHERE state = 'pending'";
    sqlx::query(due).bind(Clock::system().now()).execute(&pool).await.unwrap();
    fail(&app, "another").await; // wakes the notifier
    let received = receiver.wait_for(2).await;
    assert!(received.iter().any(|it| it.render_id() == "odd"));
    app.stop().await.unwrap();
}
