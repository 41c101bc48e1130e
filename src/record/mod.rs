//! Recording: what was said becomes rows, before anyone is answered.
//!
//! [`record`] takes a slice of [`Word`]s and writes deliveries, renders, transitions and downloads in one statement
//! (`record.sql`): one round trip, one transaction, all or nothing. Guaranteed: however the words are ordered, repeated or
//! spread over calls, connections and processes, the renders end in the same state, and each real move is one transition;
//! but for what the rules leave to the first word: `error` or `canceled`, and the kind. A render takes part in that with a
//! status that only rises and with a map of its other fields in which the newest word stays, so that any two orders meet.
//!
//! [`keep_unreadable`] and [`keep_stale`] write authentic deliveries of which nothing is believed.

mod columns;
mod word;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tracing::{info, warn};

use self::columns::Columns;
pub use self::word::{Source, Word};
use crate::event::{Event, Unreadable};
use crate::log::LogEvent;
use crate::render::{Kind, RenderId, Status};
use crate::verify::{Delivery, Stale, Verified};

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
        "src/record/record.sql",
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
        delivery.lag_ms(),
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
