//! Streams and waiting callers while the database is down, or cannot wake anybody.

use renderhook::runtime::{Database, DatabaseUrls, DirectUrl};
use secrecy::SecretString;
use serde_json::Value;
use sqlx::PgPool;
use url::Url;

use crate::support::app::{TOKEN, video};
use crate::support::postgres_proxy::{PostgresProxy, ProxyMode};
use crate::support::process::database_url;
use crate::support::sse::{EventSource, request};
use crate::support::{App, Options, until};

fn database(url: &Url, direct: DirectUrl) -> Options {
    let urls = DatabaseUrls { url: SecretString::from(url.to_string()), direct };
    Options { database: Some(Database::new(&urls).unwrap()), ..Options::default() }
}

async fn send(app: &App, event_type: &str, id: &str, status: &str) {
    until("the event to be recorded", || async {
        (app.send(event_type, &video(id, status)).await.status == 200).then_some(())
    })
    .await;
}

#[sqlx::test]
async fn nothing_is_missed_without_a_connection_that_listens(pool: PgPool) {
    let app = App::start_with(&pool, database(&database_url(&pool), DirectUrl::Disabled)).await;
    send(&app, "video.started", "clx", "rendering").await;
    let mut all = EventSource::open(&app, "/events", "").await;
    let mut one = EventSource::open(&app, "/renders/clx/events", "").await;
    let waiting = tokio::spawn(app.client.get(app.at("/renders/clx?wait=60s")).bearer_auth(TOKEN).send());
    send(&app, "video.errored", "clx", "error").await;
    assert_eq!(all.types_until("render.failed").await.len(), 2);
    assert_eq!(one.types_until("end").await.len(), 4);
    let render: Value = waiting.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(render["status"], "error");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn an_outage_interrupts_no_stream_and_hides_no_event(pool: PgPool) {
    let proxy = PostgresProxy::start(&database_url(&pool)).await;
    let app = App::start_with(&pool, database(&proxy.url(), DirectUrl::Unset)).await;
    send(&app, "video.started", "clx", "rendering").await;
    let mut all = EventSource::open(&app, "/events", "").await;
    let mut one = EventSource::open(&app, "/renders/clx/events", "").await;
    assert_eq!(one.next().await.unwrap().event_type, "render.moved");
    proxy.set(ProxyMode::Refused);
    // Streams cannot begin now.
    until("the outage to be noticed", || async {
        (request(&app, "/renders/clx/events", "").await.status() == 503).then_some(())
    })
    .await;
    proxy.set(ProxyMode::Open);
    send(&app, "video.errored", "clx", "error").await;
    assert_eq!(all.types_until("render.failed").await, ["render.moved", "render.failed"]);
    assert_eq!(one.types_until("end").await, ["render.moved", "render.failed", "end"]);
    app.stop().await.unwrap();
}
