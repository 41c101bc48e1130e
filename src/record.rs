//! Recording: what was said becomes rows, before anyone is answered.
//!
//! [`record`] takes a slice of [`Word`]s and writes deliveries, renders, transitions and downloads in one statement
//! (`record.sql`): one round trip, one transaction, all or nothing. Guaranteed: however the words are ordered, repeated
//! or spread over calls, connections and processes, the renders end in the same state, and each real move is one
//! transition. A render takes part in that with a status that only rises and with a map of its other fields in which
//! the newest word stays, so that any two orders meet.
//!
//! [`keep_unreadable`] and [`keep_stale`] write authentic deliveries of which nothing is believed.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use tracing::{info, warn};

use crate::event::{Entry, Event, EventType, Facts, Nullable, Payload, Unreadable};
use crate::key::ObjectKey;
use crate::log::LogEvent;
use crate::render::{Kind, RenderId, Status, UNTOLD};
use crate::verify::{Delivery, Stale, Verified};

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A webhook.
    Webhook,
    /// The details call.
    Poll,
}

impl Source {
    /// The word in rows, answers and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Poll => "poll",
        }
    }
}

/// One thing that was said of a render.
#[derive(Debug, Clone)]
pub struct Word {
    source: Source,
    event_type: Option<EventType>,
    render_id: RenderId,
    kind: Option<Kind>,
    status: Option<Status>,
    known: bool,
    facts: Facts,
    downloads: Vec<Entry>,
    said_at: DateTime<Utc>,
    lag_ms: Option<i64>,
    body: Option<Vec<u8>>,
}

impl Word {
    /// What a verified delivery said.
    #[must_use]
    pub fn webhook(verified: &Verified, event: Event) -> Self {
        let delivery = verified.delivery();
        Self {
            source: Source::Webhook,
            kind: event.event_type.kind(),
            status: event.status(),
            known: event.is_known(),
            render_id: event.payload.id,
            facts: event.payload.facts,
            downloads: event.payload.downloads,
            event_type: Some(event.event_type),
            // OK because a delivery without a time is never verified; were it so, now is the later bound.
            said_at: delivery.sent_at.unwrap_or(delivery.received_at),
            lag_ms: lag_ms(delivery),
            body: Some(delivery.body.to_vec()),
        }
    }

    /// What the details call answered to a question of `asked_at`.
    #[must_use]
    pub fn poll(kind: Kind, payload: Payload, asked_at: DateTime<Utc>) -> Self {
        Self {
            source: Source::Poll,
            event_type: None,
            kind: Some(kind),
            status: payload.status,
            known: !payload.has_other_status,
            render_id: payload.id,
            facts: payload.facts,
            downloads: payload.downloads,
            said_at: asked_at,
            lag_ms: None,
            body: None,
        }
    }

    /// Each field with the rank and the time that decide which word about it is the newest. A render that is complete
    /// has not failed, whatever was said of it on the way.
    fn told(&self) -> Value {
        let mut facts = self.facts.clone();
        if self.status == Some(Status::Complete) {
            facts.error = Some(Nullable::Null);
        }
        let Ok(Value::Object(facts)) = serde_json::to_value(facts) else { return json!({}) };
        let (rank, said_at) = (self.rank(), self.said_at.timestamp_micros());
        facts.into_iter().map(|(field, value)| (field, json!([rank, said_at, value]))).collect::<Map<_, _>>().into()
    }

    fn rank(&self) -> i16 {
        self.status.map_or(UNTOLD, Status::rank)
    }

    /// The files to copy: they are there once the render is complete, and not before.
    fn files(&self) -> &[Entry] {
        if self.status == Some(Status::Complete) { &self.downloads } else { &[] }
    }
}

fn lag_ms(delivery: &Delivery) -> Option<i64> {
    delivery.lag().map(|lag| lag.num_milliseconds())
}

/// What became of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// News.
    Recorded,
    /// The same event was delivered before.
    Duplicate,
    /// The render had already come further.
    Late,
    /// A type or status that this version does not know.
    Unknown,
}

/// A real change of a render's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Before; `None` for the first status that was told.
    pub from: Option<Status>,
    /// After.
    pub to: Status,
}

/// What recording a word did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// What became of it.
    pub outcome: Outcome,
    /// The move that it caused.
    pub moved: Option<Move>,
    /// How many of the render's downloads were queued, or got a fresh URL.
    pub queued: i64,
}

/// Records `words`, in their order, and tells of each what it did. Committed when it returns.
pub async fn record(pool: &PgPool, now: DateTime<Utc>, words: &[Word]) -> sqlx::Result<Vec<Recorded>> {
    let column = Columns::of(words);
    let rows = sqlx::query_file!(
        "src/record.sql",
        now,
        &column.source as _,
        &column.event_type as _,
        &column.render_id as _,
        &column.kind as _,
        &column.status as _,
        &column.rank,
        &column.known,
        &column.told,
        &column.said_at,
        &column.lag_ms as _,
        &column.body as _,
        &column.files.ord,
        &column.files.index,
        &column.files.url as _,
        &column.files.expires_at as _,
        &column.files.key,
        &column.files.host as _,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let moved = row.to_status.map(|to| -> sqlx::Result<Move> {
                let from = row.from_status.as_deref().map(status).transpose()?;
                Ok(Move { from, to: status(&to)? })
            });
            Ok(Recorded { outcome: outcome(&row.outcome)?, moved: moved.transpose()?, queued: row.queued })
        })
        .collect()
}

fn status(word: &str) -> sqlx::Result<Status> {
    word.parse().map_err(|unknown| sqlx::Error::Decode(Box::new(unknown)))
}

fn outcome(word: &str) -> sqlx::Result<Outcome> {
    match word {
        "recorded" => Ok(Outcome::Recorded),
        "duplicate" => Ok(Outcome::Duplicate),
        "late" => Ok(Outcome::Late),
        "unknown" => Ok(Outcome::Unknown),
        _ => Err(sqlx::Error::Decode(Box::new(crate::render::Unknown))),
    }
}

/// The words as the statement takes them: a list a column.
#[derive(Default)]
struct Columns<'a> {
    source: Vec<&'static str>,
    event_type: Vec<Option<&'a str>>,
    render_id: Vec<&'a str>,
    kind: Vec<Option<&'static str>>,
    status: Vec<Option<&'static str>>,
    rank: Vec<i16>,
    known: Vec<bool>,
    told: Vec<Value>,
    said_at: Vec<DateTime<Utc>>,
    lag_ms: Vec<Option<i64>>,
    body: Vec<Option<&'a [u8]>>,
    files: Files<'a>,
}

#[derive(Default)]
struct Files<'a> {
    ord: Vec<i64>,
    index: Vec<i32>,
    url: Vec<Option<&'a str>>,
    expires_at: Vec<Option<DateTime<Utc>>>,
    key: Vec<String>,
    host: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(words: &'a [Word]) -> Self {
        let mut column = Self::default();
        for (word, ord) in words.iter().zip(1..) {
            column.source.push(word.source.as_str());
            column.event_type.push(word.event_type.as_ref().map(EventType::as_str));
            column.render_id.push(word.render_id.as_str());
            column.kind.push(word.kind.map(Kind::as_str));
            column.status.push(word.status.map(Status::as_str));
            column.rank.push(word.rank());
            column.known.push(word.known);
            column.told.push(word.told());
            column.said_at.push(word.said_at);
            column.lag_ms.push(word.lag_ms);
            column.body.push(word.body.as_deref());
            column.files.add(ord, word);
        }
        column
    }
}

impl<'a> Files<'a> {
    fn add(&mut self, ord: i64, word: &'a Word) {
        let Some(kind) = word.kind else { return };
        for (entry, index) in word.files().iter().zip(0..) {
            let url = entry.url.as_ref().map(crate::event::SignedUrl::expose);
            self.ord.push(ord);
            self.index.push(index);
            self.url.push(url.map(url::Url::as_str));
            self.expires_at.push(entry.expires_at);
            self.host.push(entry.url.as_ref().map(crate::event::SignedUrl::host).unwrap_or_default());
            self.key.push(ObjectKey::new(kind, &word.render_id, index, url).to_string());
        }
    }
}

/// Keeps an authentic delivery that is no event.
pub async fn keep_unreadable(pool: &PgPool, verified: &Verified, why: Unreadable) -> sqlx::Result<()> {
    keep(pool, verified.delivery(), None, "unreadable", &why.to_string()).await
}

/// Keeps an authentic delivery that came outside the tolerance. `event` is what could be read of it, which is kept
/// beside it and not believed.
pub async fn keep_stale(pool: &PgPool, stale: &Stale, event: Option<&Event>) -> sqlx::Result<()> {
    keep(pool, stale.delivery(), event, "stale", "signed outside the tolerance").await
}

async fn keep(
    pool: &PgPool,
    delivery: &Delivery,
    event: Option<&Event>,
    outcome: &str,
    problem: &str,
) -> sqlx::Result<()> {
    let kept = sqlx::query!(
        "INSERT INTO deliveries (received_at, sent_at, lag_ms, body, event_type, render_id, outcome, problem)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        delivery.received_at,
        delivery.sent_at,
        lag_ms(delivery),
        &delivery.body[..],
        event.map(|event| event.event_type.as_str()),
        event.map(|event| event.payload.id.as_str()),
        outcome,
        problem,
    )
    .execute(pool)
    .await?;
    debug_assert_eq!(kept.rows_affected(), 1);
    Ok(())
}

/// Tells the log of a move.
pub fn say_moved(id: &RenderId, kind: Option<Kind>, moved: Option<Move>) {
    let Some(Move { from, to }) = moved else { return };
    let (kind, from_word) = (kind.map(Kind::as_str), from.map(Status::as_str));
    info!(
        event = %LogEvent::RenderMoved, render.id = %id, render.kind = kind,
        status.from = from_word, status.to = to.as_str(), "a render moved"
    );
    if matches!(from, Some(Status::Error | Status::Canceled)) {
        warn!(
            event = %LogEvent::RenderConflict, render.id = %id, render.kind = kind,
            status.from = from_word, status.to = to.as_str(), "a render that had ended is complete after all"
        );
    }
}
