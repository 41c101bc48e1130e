//! Randomly mutated bodies with valid signatures: each gets 200 or 400 and is stored.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use sqlx::PgPool;
use url::Url;

use crate::support::app::{signed, video};
use crate::support::raw::get_render;
use crate::support::rows::{count, last_delivery};
use crate::support::{App, Options};

/// Any JSON.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "(video|image|audio|\\.|draft|complete|https://h/|\\PC){0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((any::<String>(), inner), 0..6).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// A documented body with replaced values, changed bytes, and possibly a truncated end.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let places = [
        "/type",
        "/payload",
        "/payload/id",
        "/payload/status",
        "/payload/name",
        "/payload/error",
        "/payload/enabled",
        "/payload/credits_charged",
        "/payload/created_at",
        "/payload/downloads",
        "/payload/downloads/0",
        "/payload/downloads/0/url",
        "/payload/downloads/0/expires_at",
        "/payload/type",
    ];
    let replaced = vec((proptest::sample::select(places.to_vec()), any_json()), 0..4);
    let flipped = vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4);
    let cut = proptest::option::weighted(0.1, any::<proptest::sample::Index>());
    (replaced, flipped, cut).prop_map(|(replaced, flipped, cut)| {
        let mut project = video("clx", "complete");
        project.downloads.push(Url::parse("https://videos.magichour.ai/output.mp4?X-Goog-Signature=1").unwrap());
        let mut event: Value = serde_json::from_slice(&project.event("video.completed")).unwrap();
        for (place, value) in replaced {
            if let Some(there) = event.pointer_mut(place) {
                *there = value;
            }
        }
        let mut body = event.to_string().into_bytes();
        for (at, byte) in flipped {
            let at = at.index(body.len());
            body[at] = byte;
        }
        body.truncate(cut.map_or(usize::MAX, |at| at.index(body.len())));
        body
    })
}

#[sqlx::test]
async fn every_mutated_body_is_answered_and_stored(pool: PgPool) {
    let app = App::start_with(&pool, Options::flags(&["--download-concurrency=0"])).await;
    // proptest is not async, so it runs on its own thread and sends each body here.
    let (hand, mut handed) = tokio::sync::mpsc::channel::<(Vec<u8>, std::sync::mpsc::Sender<String>)>(1);
    let tester = std::thread::spawn(move || {
        let config = Config { cases: 400, failure_persistence: None, max_shrink_iters: 500, ..Config::default() };
        TestRunner::new(config).run(&mutated(), |body| {
            let (result_sender, result) = std::sync::mpsc::channel();
            hand.blocking_send((body, result_sender)).unwrap();
            prop_assert_eq!(result.recv().unwrap(), "");
            Ok(())
        })
    });
    while let Some((body, result_sender)) = handed.recv().await {
        result_sender.send(problem(&app, &body).await).unwrap();
    }
    tester.join().unwrap().unwrap();
    app.stop().await.unwrap();
}

/// Posts a body, and describes what is wrong with the result. Returns an empty text if nothing is.
async fn problem(app: &App, body: &[u8]) -> String {
    let (before, answer) = (count(&app.pool, "deliveries").await, app.deliver(&signed(body)).await);
    if !matches!(answer.status.as_u16(), 200 | 400) {
        return format!("answered with {answer:?}");
    }
    let row = last_delivery(&app.pool).await;
    if count(&app.pool, "deliveries").await != before + 1 || row.body != body {
        return format!("not stored: {answer:?}");
    }
    let read = row.render_id.filter(|_| {
        row.event_type.is_some_and(|it| ["video.", "image.", "audio."].iter().any(|kind| it.starts_with(kind)))
    });
    match read {
        Some(id) => match get_render(&app.base, &id).await {
            (200, render) if render["id"] == id.as_str() => String::new(),
            other => format!("cannot be asked for: {other:?}"),
        },
        None => String::new(),
    }
}
