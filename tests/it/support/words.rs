//! Words as the receiver makes them, signed, verified and read, so that no test records what production could not; and
//! what recording them left in the tables.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use renderhook::domain::event;
use renderhook::domain::{Kind, Status};
use renderhook::feed::PostedTypes;
use renderhook::intake::record::{self, Observation, Recorded};
use renderhook::intake::signature::sign;
use renderhook::intake::{SignatureHeaders, Verdict, Verifier};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::app::SECRET;

/// A moment that the tests count from.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

/// When the tests' words are recorded: after each of them was said.
pub(crate) fn now() -> DateTime<Utc> {
    at(10_000)
}

/// What an event says of the project `payload`, signed and received at `said_at`.
pub(crate) fn word(event_type: &str, payload: &Value, said_at: DateTime<Utc>) -> Observation {
    let secret = SecretString::from(SECRET);
    let body = json!({"type": event_type, "payload": payload}).to_string();
    let timestamp = said_at.timestamp().to_string();
    let signature = sign(&secret, &timestamp, body.as_bytes());
    let seal = SignatureHeaders::parse([signature.as_bytes()], [timestamp.as_bytes()]).unwrap();
    let verdict = Verifier::new(&[secret], Duration::ZERO).verify(&seal, Bytes::from(body), said_at);
    let Ok(Verdict::Fresh(verified)) = verdict else { panic!("not fresh: {verdict:?}") };
    Observation::webhook(&verified).unwrap()
}

/// An event that tells `status` of a video and nothing else. Webhooks tell three statuses; the others come by types
/// that this version does not know, which is how a status without a webhook of its own would first be told.
pub(crate) fn telling(id: &str, status: Option<Status>, said_at: DateTime<Utc>) -> Observation {
    let event_type = match status {
        None => "video.upscaled",
        Some(Status::Draft) => "video.drafted",
        Some(Status::Queued) => "video.queued",
        Some(Status::Rendering) => "video.started",
        Some(Status::Error) => "video.errored",
        Some(Status::Canceled) => "video.canceled",
        Some(Status::Complete) => "video.completed",
    };
    word(event_type, &json!({"id": id, "status": status}), said_at)
}

/// The completion of a video with files at `urls`, which expire at `expires_at`.
pub(crate) fn completed(
    id: &str,
    urls: &[&str],
    expires_at: Option<DateTime<Utc>>,
    said_at: DateTime<Utc>,
) -> Observation {
    let downloads: Vec<_> = urls.iter().map(|url| json!({"url": url, "expires_at": expires_at})).collect();
    word("video.completed", &json!({"id": id, "status": "complete", "downloads": downloads}), said_at)
}

/// Records words in one call.
pub(crate) async fn record(pool: &PgPool, words: &[Observation]) -> Vec<Recorded> {
    record::record(pool, now(), words, PostedTypes::default()).await.unwrap()
}

/// Records words one by one.
pub(crate) async fn record_each(pool: &PgPool, words: &[Observation]) -> Vec<Recorded> {
    let mut recorded = Vec::new();
    for word in words {
        recorded.extend(record(pool, std::slice::from_ref(word)).await);
    }
    recorded
}

/// `count` connections of a test's own to its database, as another process would have them.
pub(crate) fn connections(pool: &PgPool, count: u32) -> PgPool {
    PgPoolOptions::new().max_connections(count).connect_lazy_with((*pool.connect_options()).clone())
}

/// A render's transitions, from and to, in the order in which they were written.
pub(crate) async fn history(pool: &PgPool, id: &str) -> Vec<(Option<Status>, Status)> {
    let rows: Vec<(Option<String>, String)> =
        sqlx::query_as("SELECT from_status, to_status FROM transitions WHERE render_id = $1 ORDER BY transitions.id")
            .bind(id)
            .fetch_all(pool)
            .await
            .unwrap();
    rows.into_iter().map(|(from, to)| (from.map(|from| from.parse().unwrap()), to.parse().unwrap())).collect()
}

/// How many rows each table of the service holds: renders, transitions, deliveries, downloads.
pub(crate) async fn counts(pool: &PgPool) -> (i64, i64, i64, i64) {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM renders), (SELECT count(*) FROM transitions),
                (SELECT count(*) FROM deliveries), (SELECT count(*) FROM downloads)",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

/// What the details call tells of a video.
pub(crate) fn polled(id: &str, payload: &Value, asked_at: DateTime<Utc>) -> Observation {
    let mut payload = payload.clone();
    payload["id"] = json!(id);
    Observation::poll(Kind::Video, event::parse_details(payload.to_string().as_bytes()).unwrap(), asked_at)
}
