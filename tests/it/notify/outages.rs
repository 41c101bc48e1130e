//! Posting while everything fails: the receiver, renderhook, and Postgres.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use private_postgres::{Cluster, Durability};
use renderhook::runtime::Clock;
use renderhook_dev::standin::SignedRequest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;
use tokio::process::Command;
use url::Url;

use crate::support::app::{signed, video};
use crate::support::process::{Service, serve};
use crate::support::receiver::{Reaction, Receiver};
use crate::support::until;

/// How the receiver behaves, one after the other.
const REACTIONS: [Reaction; 6] = [
    Reaction::Hang,
    Reaction::Status(500),
    Reaction::Redirect,
    Reaction::RetryAfter(503, 1),
    Reaction::Break,
    Reaction::Status(204),
];
/// How many renders fail while the receiver behaves in one way.
const RENDERS_PER_ROUND: usize = 4;
/// What is told about each render.
const TYPES: [&str; 3] = ["render.moved", "render.moved", "render.failed"];

/// A service with a Postgres of its own, which may crash.
struct Stage {
    cluster: Cluster,
    pool: PgPool,
    receiver: Receiver,
    folder: TempDir,
}

impl Stage {
    async fn set() -> Self {
        let folder = TempDir::new().unwrap();
        let cluster = Cluster::start(&folder.path().join("postgres"), Durability::Durable).await.unwrap();
        let connect = PgPoolOptions::new().max_connections(2).acquire_timeout(Duration::from_mins(1));
        let pool = connect.connect_lazy(&cluster.url("postgres")).unwrap();
        Self { cluster, pool, receiver: Receiver::start().await, folder }
    }

    fn command(&self) -> Command {
        let mut command = serve(&Url::parse(&self.cluster.url("postgres")).unwrap(), &self.folder);
        command.args(self.receiver.flags());
        command.args(["--notify-events=render.moved,render.failed", "--notify-timeout=1s"]);
        command
    }

    /// Kills a process of the server, which then ends every session and recovers from its log.
    async fn crash_postgres(&self) {
        let pid: i32 = self.ask("SELECT pg_backend_pid()").await;
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    /// The value of a statement, as soon as Postgres answers.
    async fn ask<T>(&self, statement: &'static str) -> T
    where
        T: for<'a> sqlx::Decode<'a, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        until(statement, || async { sqlx::query_scalar(statement).fetch_one(&self.pool).await.ok() }).await
    }

    /// Makes due what waits for its next attempt, and what a process was posting that was killed.
    async fn make_due(&self, leased: bool) {
        let due = "UPDATE notifications SET due_at = $1 WHERE state = 'pending' AND (lease IS NULL OR $2)";
        until("notifications to be due", || async {
            sqlx::query(due).bind(Clock::system().now()).bind(leased).execute(&self.pool).await.ok()
        })
        .await;
    }

    async fn pending(&self) -> i64 {
        self.ask("SELECT count(*) FROM notifications WHERE state = 'pending'").await
    }
}

/// Sends a delivery until it is taken, as Magic Hour does.
async fn deliver(service: &Service, delivery: &SignedRequest) {
    until("the event to be taken", || async {
        let answer = delivery.post(&service.client, &service.at("webhook")).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}

/// All events of the feed.
async fn feed(service: &Service) -> Vec<Value> {
    let (mut events, mut after) = (Vec::new(), String::new());
    loop {
        let (status, page) = service.get(&format!("events?limit=7{after}")).await;
        assert_eq!(status, 200);
        let found = page["events"].as_array().unwrap();
        if found.is_empty() {
            return events;
        }
        events.extend(found.clone());
        after = format!("&after={}", page["next_cursor"].as_str().unwrap());
    }
}

/// Of each render the ids and types, without what is the same as before it.
fn of_renders<'a>(told: impl Iterator<Item = (&'a str, &'a str, &'a str)>) -> BTreeMap<String, Vec<(String, String)>> {
    let mut renders: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (render, id, event_type) in told {
        let told = renders.entry(render.to_owned()).or_default();
        if told.last().is_none_or(|(last, _)| last != id) {
            told.push((id.to_owned(), event_type.to_owned()));
        }
    }
    renders
}

/// Sends events while the receiver fails in one way, Postgres crashes, and the service is killed or stopped.
async fn fail_a_round(stage: &Stage, round: usize, reaction: Reaction) {
    stage.receiver.react_always(reaction);
    let mut service = Service::start(stage.command()).await;
    let seen = stage.receiver.received().len();
    for render in 0..RENDERS_PER_ROUND {
        let id = format!("render-{round}-{render}");
        for (event_type, status) in [("video.started", "rendering"), ("video.errored", "error")] {
            deliver(&service, &signed(&video(&id, status).event(event_type))).await;
        }
        if render == 2 {
            stage.crash_postgres().await;
        }
    }
    stage.make_due(false).await;
    let name = format!("a notification while {reaction:?}");
    until(&name, || async { (stage.receiver.received().len() > seen).then_some(()) }).await;
    if round.is_multiple_of(2) {
        service.signal(Signal::KILL);
        service.ended().await;
        // What the server was still doing for the process ends before its leases do.
        stage.crash_postgres().await;
    } else {
        stage.crash_postgres().await;
        service.stop().await;
    }
    stage.make_due(true).await;
}

/// Checks that the feed has each event once, and that the receiver got them in the feed's order per render.
fn assert_everything_was_posted(stage: &Stage, feed: &[Value]) {
    fn text<'a>(event: &'a Value, field: &str) -> &'a str {
        event[field].as_str().unwrap()
    }
    let ids: BTreeSet<_> = feed.iter().map(|event| text(event, "id")).collect();
    let expected = REACTIONS.len() * RENDERS_PER_ROUND * TYPES.len();
    assert_eq!((feed.len(), ids.len()), (expected, expected), "each once in the feed");
    let written = of_renders(feed.iter().map(|it| (text(it, "render_id"), text(it, "id"), text(it, "type"))));
    let received = stage.receiver.received();
    let posted = of_renders(received.iter().map(|it| (it.render_id(), it.id.as_str(), it.kind())));
    assert_eq!(posted, written);
    assert!(posted.values().all(|told| told.iter().map(|(_, kind)| kind).eq(TYPES)));
}

#[tokio::test]
async fn every_notification_arrives_in_order_although_receiver_service_and_postgres_fail() {
    let stage = Stage::set().await;
    for (round, reaction) in REACTIONS.into_iter().enumerate() {
        fail_a_round(&stage, round, reaction).await;
    }
    stage.receiver.react_always(Reaction::Status(204));
    let service = Service::start(stage.command()).await;
    until("nothing to be pending", || async {
        stage.make_due(false).await;
        (stage.pending().await == 0).then_some(())
    })
    .await;
    assert_everything_was_posted(&stage, &feed(&service).await);
    service.stop().await;
    stage.pool.close().await;
    stage.cluster.stop().await.unwrap();
}
