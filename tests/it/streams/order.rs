//! Each stream tells each event once and in order, whatever happens around it.

use std::collections::HashSet;

use renderhook::domain::Notification;
use renderhook::feed::{Outbox, PostedTypes};
use renderhook::runtime::Tallies;
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::support::App;
use crate::support::app::video;
use crate::support::observations::{connections, now};
use crate::support::sse::EventSource;

const WRITERS: usize = 6;
const TRANSACTIONS: usize = 60;

/// Writes notifications about a render in one transaction.
async fn write(pool: &PgPool, render_id: &str, count: usize) {
    let mut transaction = pool.begin().await.unwrap();
    let mut outbox = Outbox::default();
    outbox.extend(render_id, (0..count).map(|_| Notification::Incomplete));
    outbox.write(&mut transaction, Tallies::default(), PostedTypes::default(), now()).await.unwrap();
    transaction.commit().await.unwrap();
}

/// Reads `count` events, and reconnects after every `reconnect_after`.
async fn follow(app: &App, path: &str, begin: &str, count: usize, reconnect_after: usize) -> Vec<String> {
    let (mut ids, mut last_event_id) = (Vec::new(), begin.to_owned());
    while ids.len() < count {
        let mut stream = EventSource::open(app, path, &last_event_id).await;
        for _ in 0..reconnect_after.min(count - ids.len()) {
            let event = stream.next().await.unwrap();
            ids.push(event.data["id"].as_str().unwrap().to_owned());
            last_event_id = event.last_event_id;
        }
    }
    ids
}

/// Writes notifications about all renders at once. Returns the tasks that do.
fn write_all(pool: &PgPool) -> JoinSet<()> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let pool = pool.clone();
        writers.spawn(async move {
            for number in 0..TRANSACTIONS {
                write(&pool, &format!("clx{writer}"), 1 + number % 3).await;
            }
        });
    }
    writers
}

/// The ids of what was written, in the feed's order: of all renders, and of `clx0`.
async fn written(pool: &PgPool) -> (Vec<String>, Vec<String>) {
    let rows = "SELECT id, render_id FROM notifications WHERE type = 'render.incomplete' ORDER BY position";
    let rows: Vec<(uuid::Uuid, String)> = sqlx::query_as(rows).fetch_all(pool).await.unwrap();
    let id = |(id, _): &(uuid::Uuid, String)| format!("msg_{}", id.simple());
    (rows.iter().map(id).collect(), rows.iter().filter(|(_, render)| render == "clx0").map(id).collect())
}

#[sqlx::test]
async fn streams_send_every_event_once_and_in_one_order_while_many_write_and_clients_reconnect(pool: PgPool) {
    let app = App::start(&pool).await;
    for writer in 0..WRITERS {
        app.send("video.started", &video(&format!("clx{writer}"), "rendering")).await;
    }
    let begin = EventSource::open(&app, "/events", "").await.last_event_id;
    let writers = write_all(&connections(&pool, 3));
    let of_render = TRANSACTIONS * 2;
    let count = of_render * WRITERS;
    let render = format!("/renders/clx0/events?after={begin}");
    let (steady, restless, nervous, one, restless_one) = tokio::join!(
        follow(&app, "/events", &begin, count, count),
        follow(&app, "/events", &begin, count, 47),
        follow(&app, "/events", &begin, count, 5),
        follow(&app, &render, "", of_render, of_render),
        follow(&app, &render, &begin, of_render, 7),
    );
    writers.join_all().await;
    let (expected, expected_one) = written(&pool).await;
    assert_eq!(expected.len(), count);
    for (told, expected) in [
        (&steady, &expected),
        (&restless, &expected),
        (&nervous, &expected),
        (&one, &expected_one),
        (&restless_one, &expected_one),
    ] {
        assert_eq!(told.iter().collect::<HashSet<_>>().len(), told.len(), "none twice");
        assert_eq!(told, expected);
    }
    app.stop().await.unwrap();
}
