//! `GET /renders/{id}/events`.

use reqwest::Method;
use sqlx::PgPool;

use crate::support::app::{TOKEN, video};
use crate::support::sse::{EventSource, request};
use crate::support::{App, Options};

async fn send(app: &App, event_type: &str, id: &str, status: &str) {
    assert_eq!(app.send(event_type, &video(id, status)).await.status, 200);
}

const PATH: &str = "/renders/clx/events";

#[sqlx::test]
async fn a_stream_begins_with_what_is_kept_and_ends_when_the_render_is_finished(pool: PgPool) {
    let app = App::start(&pool).await;
    send(&app, "video.started", "clx", "rendering").await;
    send(&app, "video.errored", "another", "error").await;
    let mut stream = EventSource::open(&app, PATH, "").await;
    assert_eq!(stream.next().await.unwrap().data["transition"]["to"], "rendering");
    let mut project = video("clx", "complete");
    project.downloads = vec![app.files.put("clx/output.mp4", b"bytes".to_vec(), "video/mp4").unwrap()];
    app.send("video.completed", &project).await;
    let types: Vec<_> = stream.rest().await.into_iter().map(|event| event.event_type).collect();
    assert_eq!(types, ["render.moved", "download.stored", "render.ready", "end"]);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_finished_render_has_its_kept_events_and_the_end_and_then_nothing(pool: PgPool) {
    let app = App::start(&pool).await;
    send(&app, "video.started", "clx", "rendering").await;
    send(&app, "video.errored", "clx", "error").await;
    let mut stream = EventSource::open(&app, PATH, "").await;
    let events = stream.rest().await;
    let types: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(types, ["render.moved", "render.moved", "render.failed", "end"]);
    assert_eq!(events[3].data["reason"], "finished");
    // A client that reconnects from before the end gets what it has missed, and one that had the end is told to stop.
    for (index, missed) in [(0, 3), (1, 2), (2, 1)] {
        assert_eq!(
            EventSource::open(&app, PATH, &events[index].last_event_id).await.rest().await,
            events[4 - missed..]
        );
    }
    assert_eq!(request(&app, PATH, &events[3].last_event_id).await.status(), 204);
    assert_eq!(request(&app, PATH, "AAAA.end").await.status(), 400);
    assert_eq!(EventSource::open(&app, "/renders/clx/events?types=render.failed", "").await.rest().await, events[2..]);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_client_that_had_the_end_follows_the_render_again_after_a_retry(pool: PgPool) {
    let app = App::start_with(&pool, Options::flags(&["--download-max-attempts=1"])).await;
    let mut project = video("clx", "complete");
    project.downloads = vec![app.at("nothing")];
    app.send("video.completed", &project).await;
    let mut stream = EventSource::open(&app, PATH, "").await;
    assert_eq!(stream.types_until("end").await, ["render.moved", "download.failed", "render.incomplete", "end"]);
    let retried =
        app.client.request(Method::POST, app.at("/renders/clx/retry")).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(retried.status(), 200);
    let mut again = EventSource::open(&app, PATH, &stream.last_event_id).await;
    assert_eq!(again.types_until("end").await, ["download.failed", "render.incomplete", "end"]);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_restored_database_begins_the_stream_of_a_render_again(pool: PgPool) {
    let app = App::start(&pool).await;
    send(&app, "video.started", "clx", "rendering").await;
    let mut stream = EventSource::open(&app, PATH, "").await;
    assert_eq!(stream.next().await.unwrap().event_type, "render.moved");
    sqlx::query("UPDATE feed SET id = gen_random_uuid()").execute(&pool).await.unwrap();
    let reset = stream.next().await.unwrap();
    assert_eq!((reset.event_type.as_str(), reset.last_event_id.as_str()), ("reset", ""));
    send(&app, "video.errored", "clx", "error").await;
    assert_eq!(stream.types_until("end").await, ["render.moved", "render.moved", "render.failed", "end"]);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn line_breaks_in_metadata_do_not_break_an_event(pool: PgPool) {
    let app = App::start(&pool).await;
    let body = "{\"kind\": \"video\", \"metadata\": {\r\n\n\"event: end\": \"a\\nb\",\r \"n\": 1.50}}";
    let put = app.client.put(app.at("/renders/clx")).bearer_auth(TOKEN).body(body).send().await.unwrap();
    assert_eq!(put.status(), 201);
    let mut stream = EventSource::open(&app, PATH, "").await;
    send(&app, "video.started", "clx", "rendering").await;
    let event = stream.next().await.unwrap();
    assert_eq!(event.data["data"]["metadata"], serde_json::json!({ "event: end": "a\nb", "n": 1.50 }));
    app.stop().await.unwrap();
}
