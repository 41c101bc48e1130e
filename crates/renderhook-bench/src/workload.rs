//! What is sent: events as Magic Hour sends them, signed beforehand, and questions of an application.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use renderhook::domain::Kind;
use renderhook_dev::standin::{Project, SignedRequest};
use secrecy::SecretString;
use url::Url;

/// The secret that signs the events.
pub(crate) const SECRET: &str = "whsec_bench";
/// The token of the questions.
pub(crate) const TOKEN: &str = "bench-token";

/// More events per second than any machine will take: so many are prepared for a run.
pub(crate) const FASTEST: usize = 25_000;
/// The same for a single connection.
pub(crate) const FASTEST_ALONE: usize = 3_000;

/// How many renders are in progress at once.
const IN_PROGRESS: usize = 500;
/// One event in so many is sent twice.
const REPEATED: usize = 20;
/// After how many events: a repetition comes after a second at the earliest.
const REPEATED_AFTER: usize = 5_000;

/// The id of a render: as long as Magic Hour's.
pub(crate) fn id(run: &str, number: usize) -> String {
    format!("{run}-{number:0width$}", width = 24_usize.saturating_sub(run.len()))
}

/// At least `count` events of new renders, in the order in which Magic Hour would send them.
///
/// Six of ten renders are videos, three images, one is audio. Each is started and, about [`IN_PROGRESS`] renders later,
/// completed with a file; of the images, half are completed without a start. One event in [`REPEATED`] is a duplicate.
pub(crate) fn events(run: &str, count: usize, now: DateTime<Utc>) -> Vec<Vec<u8>> {
    let mut events = Vec::with_capacity(count + 3);
    for number in 0.. {
        if has_start(number) {
            push(&mut events, started(run, number, now));
        }
        if let Some(number) = number.checked_sub(IN_PROGRESS) {
            push(&mut events, completed(run, number, now));
        }
        if events.len() >= count {
            break;
        }
    }
    events
}

fn push(events: &mut Vec<Vec<u8>>, event: Vec<u8>) {
    events.push(event);
    if events.len() % REPEATED == REPEATED - 1
        && let Some(earlier) = events.len().checked_sub(REPEATED_AFTER)
    {
        events.push(events[earlier].clone());
    }
}

fn kind(number: usize) -> Kind {
    match number % 10 {
        0..=5 => Kind::Video,
        6..=8 => Kind::Image,
        _ => Kind::Audio,
    }
}

fn has_start(number: usize) -> bool {
    kind(number) != Kind::Image || (number / 10).is_multiple_of(2)
}

fn project(run: &str, number: usize, status: &str, now: DateTime<Utc>) -> Project {
    let mut project = Project::new(kind(number), id(run, number), now);
    project.name = Some(format!("Render {number} of order {}", number / 3));
    project.status = Some(status.to_owned());
    project
}

/// The event that starts a render.
pub(crate) fn started(run: &str, number: usize, now: DateTime<Utc>) -> Vec<u8> {
    project(run, number, "rendering", now).event(&format!("{}.started", kind(number)))
}

/// The event that tells that a render failed.
pub(crate) fn failed(run: &str, number: usize, now: DateTime<Utc>) -> Vec<u8> {
    project(run, number, "error", now).event(&format!("{}.errored", kind(number)))
}

/// The event that completes a render, with one file.
pub(crate) fn completed(run: &str, number: usize, now: DateTime<Utc>) -> Vec<u8> {
    let mut project = project(run, number, "complete", now);
    project.downloads = vec![signed_url(&project.id, number, now)];
    project.event(&format!("{}.completed", kind(number)))
}

/// A URL as Google Cloud Storage signs it. Nothing answers there.
fn signed_url(id: &str, number: usize, now: DateTime<Utc>) -> Url {
    let signature = format!("{:032x}", number.wrapping_mul(0x9e37_79b9)).repeat(16);
    let text = format!(
        "https://videos.magichour.ai/{id}/output.mp4?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=storage%40magic-hour\
         .iam.gserviceaccount.com%2F{}%2Fauto%2Fstorage%2Fgoog4_request&X-Goog-Date={}&X-Goog-Expires=86400\
         &X-Goog-SignedHeaders=host&X-Goog-Signature={signature}",
        now.format("%Y%m%d"),
        now.format("%Y%m%dT%H%M%SZ"),
    );
    Url::parse(&text).expect("a URL")
}

/// The event as a whole request to `/webhook`, signed at `now`.
pub(crate) fn delivery(event: Vec<u8>, now: DateTime<Utc>) -> Bytes {
    let SignedRequest { timestamp, signature, body } =
        SignedRequest::sign(&SecretString::from(SECRET), now.timestamp().to_string(), event);
    let head = format!(
        "POST /webhook HTTP/1.1\r\nhost: renderhook.example\r\ncontent-type: application/json\r\n\
         {}: {signature}\r\n{}: {timestamp}\r\ncontent-length: {}\r\n\r\n",
        renderhook::intake::SIGNATURE_HEADER,
        renderhook::intake::TIMESTAMP_HEADER,
        body.len()
    );
    [head.as_bytes(), &body].concat().into()
}

/// A question to the API.
pub(crate) fn get(path: &str) -> Bytes {
    format!("GET {path} HTTP/1.1\r\nhost: renderhook.example\r\nauthorization: Bearer {TOKEN}\r\n\r\n").into()
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use serde_json::Value;

    use super::*;

    #[test]
    fn renders_are_started_and_completed_in_order_and_few_events_are_repeated() {
        let now = DateTime::UNIX_EPOCH;
        let events = events("r", 20_000, now);
        let distinct: HashSet<_> = events.iter().collect();
        let repeated = events.len() - distinct.len();
        // The first [`REPEATED_AFTER`] events have nothing before them to repeat.
        assert_eq!(repeated, (events.len() - REPEATED_AFTER) / REPEATED, "of {}", events.len());

        let mut types: HashMap<String, Vec<String>> = HashMap::new();
        for event in &events {
            let event: Value = serde_json::from_slice(event).unwrap();
            let of_render = types.entry(event["payload"]["id"].as_str().unwrap().to_owned()).or_default();
            let event_type = event["type"].as_str().unwrap().to_owned();
            if !of_render.contains(&event_type) {
                of_render.push(event_type);
            }
        }
        assert!(types.values().all(|types| types.len() < 2 || types[1].ends_with(".completed")));
        assert!(types.values().filter(|types| types.len() == 2).count() > types.len() * 3 / 4);
    }

    #[test]
    fn a_delivery_is_one_request_with_its_body() {
        let now = DateTime::UNIX_EPOCH;
        let event = completed("r", 7, now);
        let request = delivery(event.clone(), now);
        assert!(request.ends_with(&event));
        let head = String::from_utf8_lossy(&request[..request.len() - event.len()]).into_owned();
        assert!(head.ends_with(&format!("content-length: {}\r\n\r\n", event.len())), "{head}");
    }
}
