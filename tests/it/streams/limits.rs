//! How many requests may wait, and what they leave to others.

use renderhook::http::Limits;
use reqwest::StatusCode;
use sqlx::PgPool;

use crate::support::app::{TOKEN, video};
use crate::support::sse::{EventSource, request};
use crate::support::{App, Options, until};

fn limits(connections: usize, api_requests: usize) -> Options {
    Options { http_limits: Limits { connections, api_requests, ..Limits::default() }, ..Options::default() }
}

#[sqlx::test]
async fn streams_and_waiting_callers_beyond_the_limit_are_asked_to_come_back(pool: PgPool) {
    let app = App::start_with(&pool, limits(6, 100)).await; // five may wait
    app.send("video.started", &video("clx", "rendering")).await;
    let mut streams = Vec::new();
    for path in ["/events", "/renders/clx/events", "/events"] {
        streams.push(EventSource::open(&app, path, "").await);
    }
    let waiting = ["/events?types=render.ready&wait=60s", "/renders/clx?wait=60s"]
        .map(|path| tokio::spawn(app.client.get(app.at(path)).bearer_auth(TOKEN).send()));
    // A rejected request frees its connection, so the others are not starved.
    let answer = until("all places to be taken", || async {
        let answer = request(&app, "/events", "").await;
        (answer.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
    })
    .await;
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(app.get("/renders/clx").await.status(), 200, "whoever does not wait is answered");
    drop(streams.pop());
    until("a place to be free", || async { (request(&app, "/events", "").await.status() == 200).then_some(()) }).await;
    app.shutdown.stop();
    for answer in waiting {
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
    drop(streams);
    app.stop().await.unwrap();
}

#[sqlx::test]
async fn requests_that_wait_are_not_among_those_in_progress(pool: PgPool) {
    let app = App::start_with(&pool, limits(100, 1)).await;
    app.send("video.started", &video("clx", "rendering")).await;
    let mut streams = Vec::new();
    for path in ["/events", "/renders/clx/events", "/events", "/renders/clx/events", "/events"] {
        streams.push(EventSource::open(&app, path, "").await);
    }
    let waiting: Vec<_> = (0..5)
        .map(|_| tokio::spawn(app.client.get(app.at("/renders/clx?wait=60s")).bearer_auth(TOKEN).send()))
        .collect();
    until("an answer", || async { (app.get("/renders/clx").await.status() == 200).then_some(()) }).await;
    app.send("video.errored", &video("clx", "error")).await;
    for answer in waiting {
        let answer = answer.await.unwrap().unwrap();
        // 503 for those that came while another was about to begin.
        assert!([200, 503].contains(&answer.status().as_u16()));
    }
    for stream in &mut streams {
        stream.types_until("render.failed").await;
    }
    app.stop().await.unwrap();
}
