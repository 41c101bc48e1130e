//! How long recording takes on the Postgres of `DATABASE_URL`: `cargo run --release --example recording_speed`.
//!
//! It records into a database of its own, which it drops again.

use std::str::FromStr as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use futures::future::try_join_all;
use renderhook::feed::PostedTypes;
use renderhook::intake::record::{self, Observation};
use renderhook::intake::signature::sign;
use renderhook::intake::{SignatureHeaders, Verdict, Verifier};
use renderhook::runtime::Clock;
use renderhook::runtime::MIGRATIONS;
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("DATABASE_URL").context("set DATABASE_URL to a Postgres that may get a database more")?;
    let server = PgConnectOptions::from_str(&url)?;
    let name = format!("renderhook_speed_{}", std::process::id());
    let mut admin = PgConnection::connect_with(&server).await?;
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await?;
    let measured = measure(server.database(&name)).await;
    sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).execute(&mut admin).await?;
    measured
}

async fn measure(database: PgConnectOptions) -> anyhow::Result<()> {
    let pool = PgPoolOptions::new().max_connections(8).connect_with(database).await?;
    MIGRATIONS.run(&pool).await?;
    println!("{:<44} {:>10} {:>12} {:>12}", "", "calls", "ms a call", "events a s");
    // Each a journey of two events, with one file.
    let journeys = |name: &str, renders: usize| -> Vec<Observation> {
        (0..renders).flat_map(|n| [started(&format!("{name}-{n}")), completed(&format!("{name}-{n}"), 1)]).collect()
    };
    calls(&pool, "events one by one", journeys("warm", 200).chunks(1)).await?;
    calls(&pool, "events one by one, once warm", journeys("one", 1_000).chunks(1)).await?;
    calls(&pool, "the same again: duplicates", journeys("one", 1_000).chunks(1)).await?;
    let words = journeys("at once", 1_000);
    let begun = Instant::now();
    let connection = |part| words.iter().skip(part).step_by(8).map(std::slice::from_ref).collect::<Vec<_>>();
    try_join_all((0..8).map(async |part| -> sqlx::Result<()> {
        for word in connection(part) {
            record::record(&pool, Clock::system().now(), word, PostedTypes::default()).await?;
        }
        Ok(())
    }))
    .await?;
    say("events one by one, over 8 connections", words.len(), words.len(), begun.elapsed());
    calls(&pool, "slices of 50", journeys("fifty", 1_000).chunks(50)).await?;
    calls(&pool, "slices of 500", journeys("many", 2_500).chunks(500)).await?;
    let large: Vec<_> = (0..10).map(|n| completed(&format!("large-{n}"), 2_000)).collect();
    calls(&pool, "an event with 2,000 downloads", large.chunks(1)).await?;
    calls(&pool, "the same again: duplicates", large.chunks(1)).await?;
    Ok(())
}

async fn calls(pool: &PgPool, what: &str, slices: impl Iterator<Item = &[Observation]>) -> sqlx::Result<()> {
    let (mut count, mut events) = (0, 0);
    let begun = Instant::now();
    for slice in slices {
        record::record(pool, Clock::system().now(), slice, PostedTypes::default()).await?;
        count += 1;
        events += slice.len();
    }
    say(what, count, events, begun.elapsed());
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts this small are exact")]
fn say(what: &str, calls: usize, events: usize, took: Duration) {
    let (ms, rate) = (1e3 * took.as_secs_f64() / calls as f64, events as f64 / took.as_secs_f64());
    println!("{what:<44} {calls:>10} {ms:>12.2} {rate:>12.0}");
}

fn started(id: &str) -> Observation {
    word("video.started", &json!({"id": id, "status": "rendering", "name": "Example", "credits_charged": 450}))
}

fn completed(id: &str, files: usize) -> Observation {
    let url = |file| format!("https://videos.example/{id}/{file}.mp4?X-Goog-Signature={file:0>512}");
    let downloads: Vec<_> =
        (0..files).map(|file| json!({"url": url(file), "expires_at": "2099-01-01T00:00:00Z"})).collect();
    let payload = json!({
        "id": id, "status": "complete", "name": "Example", "type": "FACE_SWAP", "created_at": "2024-10-19T05:16:19.027Z",
        "enabled": true, "credits_charged": 450, "error": null, "downloads": downloads,
    });
    word("video.completed", &payload)
}

/// A word as a delivery gives it: signed, verified and read.
fn word(event_type: &str, payload: &Value) -> Observation {
    let now = Clock::system().now();
    let secret = SecretString::from("whsec_speed");
    let body = json!({"type": event_type, "payload": payload}).to_string();
    let timestamp = now.timestamp().to_string();
    let signature = sign(&secret, &timestamp, body.as_bytes());
    let seal = SignatureHeaders::parse([signature.as_bytes()], [timestamp.as_bytes()]).expect("well-formed headers");
    let verdict = Verifier::new(&[secret], Duration::from_mins(1)).verify(&seal, Bytes::from(body), now);
    let Ok(Verdict::Fresh(verified)) = verdict else { panic!("it was signed just now") };
    Observation::webhook(&verified).expect("a whole event")
}
