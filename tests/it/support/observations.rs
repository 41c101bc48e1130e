//! Observations for tests, made like in production: signed, verified, and parsed. And what recording them wrote.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use renderhook::domain::{Kind, Payload, Status};
use renderhook::intake::{
    self, Authentic, Observation, RecordRules, Recorded, SignatureHeaders, Verifier, sign_delivery,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::app::SECRET;

/// The point in time from which tests count.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

/// When the observations are recorded, which is after all of them were made.
pub(crate) fn now() -> DateTime<Utc> {
    at(10_000)
}

/// The observation of an event with `payload`, signed and received at `sent_at`.
pub(crate) fn observation(event_type: &str, payload: &Value, sent_at: DateTime<Utc>) -> Observation {
    let secret = SecretString::from(SECRET);
    let body = json!({"type": event_type, "payload": payload}).to_string();
    let timestamp = sent_at.timestamp().to_string();
    let signature = sign_delivery(&secret, &timestamp, body.as_bytes());
    let headers = SignatureHeaders::parse([signature.as_bytes()], [timestamp.as_bytes()]).unwrap();
    let verdict = Verifier::new(&[secret], Duration::ZERO).verify(&headers, Bytes::from(body), sent_at);
    let Ok(Authentic::Fresh(verified)) = verdict else { panic!("not fresh: {verdict:?}") };
    Observation::webhook(&verified).unwrap()
}

/// The observation of an event about a video with only a `status`. The three statuses with webhooks use their types. The others use
/// types that this version does not know.
pub(crate) fn status_report(id: &str, status: Option<Status>, sent_at: DateTime<Utc>) -> Observation {
    let event_type = match status {
        None => "video.upscaled",
        Some(Status::Draft) => "video.drafted",
        Some(Status::Queued) => "video.queued",
        Some(Status::Rendering) => "video.started",
        Some(Status::Error) => "video.errored",
        Some(Status::Canceled) => "video.canceled",
        Some(Status::Complete) => "video.completed",
    };
    observation(event_type, &json!({"id": id, "status": status}), sent_at)
}

/// The completion of a video with files at `urls`, which expire at `expires_at`.
pub(crate) fn completed(
    id: &str,
    urls: &[&str],
    expires_at: Option<DateTime<Utc>>,
    sent_at: DateTime<Utc>,
) -> Observation {
    let downloads: Vec<_> = urls.iter().map(|url| json!({"url": url, "expires_at": expires_at})).collect();
    observation("video.completed", &json!({"id": id, "status": "complete", "downloads": downloads}), sent_at)
}

/// Records observations in one call.
pub(crate) async fn record(pool: &PgPool, observations: &[Observation]) -> Vec<Recorded> {
    intake::record(pool, now(), observations, &RecordRules::default()).await.unwrap()
}

/// Records observations one by one.
pub(crate) async fn record_each(pool: &PgPool, observations: &[Observation]) -> Vec<Recorded> {
    let mut recorded = Vec::new();
    for observation in observations {
        recorded.extend(record(pool, std::slice::from_ref(observation)).await);
    }
    recorded
}

/// A pool of `count` connections to the test's database, like that of another process.
pub(crate) fn connections(pool: &PgPool, count: u32) -> PgPool {
    PgPoolOptions::new().max_connections(count).connect_lazy_with((*pool.connect_options()).clone())
}

/// The transitions of a render, in order.
pub(crate) async fn history(pool: &PgPool, id: &str) -> Vec<(Option<Status>, Status)> {
    let rows: Vec<(Option<String>, String)> =
        sqlx::query_as("SELECT from_status, to_status FROM transitions WHERE render_id = $1 ORDER BY transitions.id")
            .bind(id)
            .fetch_all(pool)
            .await
            .unwrap();
    rows.into_iter().map(|(from, to)| (from.map(|from| from.parse().unwrap()), to.parse().unwrap())).collect()
}

/// The numbers of rows: renders, transitions, deliveries, downloads.
pub(crate) async fn counts(pool: &PgPool) -> (i64, i64, i64, i64) {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM renders), (SELECT count(*) FROM transitions),
                (SELECT count(*) FROM deliveries), (SELECT count(*) FROM downloads)",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

/// The observation of a poll of a video.
pub(crate) fn polled(id: &str, payload: &Value, called_at: DateTime<Utc>) -> Observation {
    let mut payload = payload.clone();
    payload["id"] = json!(id);
    Observation::poll(Kind::Video, Payload::from_details(payload.to_string().as_bytes()).unwrap(), called_at)
}
