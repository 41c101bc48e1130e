//! `GET /events` as a stream.

use renderhook::runtime::Clock;
use reqwest::Method;
use serde_json::Value;
use sqlx::PgPool;

use crate::support::App;
use crate::support::app::{TOKEN, video};
use crate::support::sse::{EventSource, request};

async fn send(app: &App, event_type: &str, id: &str, status: &str) {
    assert_eq!(app.send(event_type, &video(id, status)).await.status, 200);
}

async fn feed(app: &App, query: &str) -> Value {
    app.get(&format!("/events?{query}")).await.json().await.unwrap()
}

#[sqlx::test]
async fn a_stream_tells_what_happens_from_now_on_as_the_feed_shows_it(pool: PgPool) {
    let app = App::start(&pool).await;
    send(&app, "video.errored", "before", "error").await;
    let mut stream = EventSource::open(&app, "/events", "").await;
    assert_eq!(stream.retry, Some(3000));
    let begin = stream.last_event_id.clone();
    assert_eq!(begin, feed(&app, "").await["next_cursor"], "the client can resume before anything has happened");
    send(&app, "video.errored", "clx", "error").await;
    let told = [stream.next().await.unwrap(), stream.next().await.unwrap()];
    let page = feed(&app, &format!("after={begin}")).await;
    for (event, expected) in told.iter().zip(page["events"].as_array().unwrap()) {
        assert_eq!(event.data, *expected);
        assert_eq!(
            (&event.data["type"], &event.data["cursor"]),
            (&event.event_type.as_str().into(), &event.last_event_id.as_str().into())
        );
    }
    assert_eq!(page["events"].as_array().unwrap().len(), 2);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn all_types_are_told_unless_some_are_named(pool: PgPool) {
    let app = App::start(&pool).await;
    let mut all = EventSource::open(&app, "/events", "").await;
    let mut some = EventSource::open(&app, "/events?types=download.stored,render.canceled", "").await;
    let mut project = video("clx", "complete");
    project.downloads = vec![app.files.put("clx/output.mp4", b"bytes".to_vec(), "video/mp4").unwrap()];
    app.send("video.completed", &project).await;
    assert_eq!(all.types_until("render.ready").await, ["render.moved", "download.stored", "render.ready"]);
    assert_eq!(some.types_until("download.stored").await, ["download.stored"]);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_client_resumes_where_it_was_and_its_header_wins_over_the_parameter(pool: PgPool) {
    let app = App::start(&pool).await;
    let begin = EventSource::open(&app, "/events", "").await.last_event_id;
    // More than is read from the database at once.
    for number in 0..70 {
        send(&app, "video.started", &format!("clx{number}"), "rendering").await;
    }
    let ids = async |path: &str, last_event_id: &str, count: usize| {
        let mut stream = EventSource::open(&app, path, last_event_id).await;
        let mut ids = Vec::new();
        while ids.len() < count {
            ids.push(stream.next().await.unwrap().data["render_id"].as_str().unwrap().to_owned());
        }
        (ids, stream.last_event_id)
    };
    let expected: Vec<_> = (0..70).map(|number| format!("clx{number}")).collect();
    let (all, _) = ids(&format!("/events?after={begin}"), "", 70).await;
    assert_eq!(all, expected);
    let (first, last_event_id) = ids("/events", &begin, 50).await;
    assert_eq!(first, expected[..50]);
    let (rest, _) = ids(&format!("/events?after={begin}"), &last_event_id, 20).await;
    assert_eq!(rest, expected[50..]);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_client_with_an_expired_cursor_is_told_so_and_continues_with_what_happens_next(pool: PgPool) {
    let app = App::start(&pool).await;
    send(&app, "video.errored", "clx", "error").await;
    let first = feed(&app, "limit=1").await["next_cursor"].as_str().unwrap().to_owned();
    send(&app, "video.errored", "other", "error").await;
    let later = Clock::system().now() + chrono::TimeDelta::seconds(1);
    assert_eq!(renderhook::feed::remove_old(&pool, later, 3).await.unwrap(), 3);
    let mut stream = EventSource::open(&app, "/events", &first).await;
    let reset = stream.next().await.unwrap();
    assert_eq!(reset.event_type, "reset");
    assert_eq!(reset.last_event_id, feed(&app, "").await["next_cursor"]);
    send(&app, "video.started", "next", "rendering").await;
    assert_eq!(stream.next().await.unwrap().data["render_id"], "next");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_restored_database_resets_open_streams(pool: PgPool) {
    let app = App::start(&pool).await;
    let mut stream = EventSource::open(&app, "/events", "").await;
    sqlx::query("UPDATE feed SET id = gen_random_uuid()").execute(&pool).await.unwrap();
    assert_eq!(stream.next().await.unwrap().event_type, "reset");
    send(&app, "video.started", "next", "rendering").await;
    assert_eq!(stream.next().await.unwrap().data["render_id"], "next");
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn a_stop_ends_streams_after_a_last_event(pool: PgPool) {
    let app = App::start(&pool).await;
    let mut streams = Vec::new();
    for path in ["/events", "/events?types=render.ready"] {
        streams.push(EventSource::open(&app, path, "").await);
    }
    let shutdown = app.shutdown.clone();
    let cursor = streams[0].last_event_id.clone();
    shutdown.stop();
    for mut stream in streams {
        let events = stream.rest().await;
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].event_type.as_str(), &events[0].data["reason"]), ("end", &"stopping".into()));
        assert_eq!(events[0].last_event_id, cursor, "the client resumes at another process");
    }
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn accept_decides_between_a_page_and_a_stream(pool: PgPool) {
    let app = App::start(&pool).await;
    for (method, path, accept, status, content_type) in [
        (Method::GET, "/events", "*/*", 200, "application/json"),
        (Method::GET, "/events", "text/html", 200, "application/json"),
        (Method::GET, "/events", "text/event-stream, */*;q=0.5", 200, "text/event-stream"),
        (Method::HEAD, "/events", "text/event-stream", 200, "text/event-stream"),
        (Method::HEAD, "/events", "application/json", 200, "application/json"),
        (Method::GET, "/events?after=x", "text/event-stream", 400, "application/json"),
        (Method::GET, "/events?types=x", "text/event-stream", 400, "application/json"),
        (Method::GET, "/events?kind=video", "text/event-stream", 400, "application/json"),
        (Method::GET, "/renders/nobody/events", "text/event-stream", 404, "application/json"),
        (Method::GET, "/renders/nobody/events", "application/json", 406, "application/json"),
    ] {
        let request = app.client.request(method, app.at(path)).bearer_auth(TOKEN).header("accept", accept);
        let answer = request.send().await.unwrap();
        let of = |name: &str| answer.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
        assert_eq!(
            (answer.status().as_u16(), of("content-type").as_deref()),
            (status, Some(content_type)),
            "{path} {accept}"
        );
        if content_type == "text/event-stream" {
            assert_eq!(of("cache-control").as_deref(), Some("no-store"));
            assert_eq!(of("x-accel-buffering").as_deref(), Some("no"));
        }
    }
    assert_eq!(request(&app, "/events", "x").await.status(), 400);
    let anonymous = app.client.get(app.at("/events")).header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
    app.stop().await.unwrap();
}
