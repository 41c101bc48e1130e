//! Recording: what was said becomes rows, before anyone is answered.
//!
//! [`record`] takes a slice of [`Observation`]s and writes deliveries, renders, transitions and downloads in one statement
//! (`record.sql`): one round trip, one transaction, all or nothing. Guaranteed: however the words are ordered, repeated or
//! spread over calls, connections and processes, the renders end in the same state, and each real move is one transition;
//! but for what the rules leave to the first word (`error` or `canceled`, and the kind) or to the details call (which of the
//! two it is). A render takes part in that with a
//! status that only rises and with a map of its other fields in which the newest word stays, so that any two orders meet.
//!
//! [`kept`] has the authentic deliveries of which nothing is believed, and [`say()`] tells the log what recording did.

mod columns;
pub mod kept;
mod observation;
mod say;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use self::columns::Columns;
pub use self::observation::{Observation, Source};
pub use self::say::say;
use crate::domain::Status;
use crate::runtime::file_counts;

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
    /// Whether the render had failed or been canceled when the word came, and which.
    pub stood: Option<Status>,
    /// Whether it is the first to tell `unknown_error`, of which Magic Hour asks to be told.
    pub tells_unknown_error: bool,
    /// Whether anything of the render is another than before the call.
    pub news: bool,
    /// How many of the render's downloads were queued, or got a fresh URL.
    pub queued: i64,
}

/// Records `words`, in their order, and tells of each what it did. Committed when it returns.
pub async fn record(pool: &PgPool, now: DateTime<Utc>, words: &[Observation]) -> sqlx::Result<Vec<Recorded>> {
    Box::pin(record_all(pool, now, words)).await
}

async fn record_all(pool: &PgPool, now: DateTime<Utc>, words: &[Observation]) -> sqlx::Result<Vec<Recorded>> {
    let column = Columns::of(words);
    let mut transaction = pool.begin().await?;
    let rows = sqlx::query_file!(
        "src/intake/record/record.sql",
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
        &column.kept as _,
    )
    .fetch_all(&mut *transaction)
    .await?;
    let known: Vec<&str> =
        words.iter().filter(|word| word.kind.is_some()).map(|word| word.render_id.as_str()).collect();
    file_counts::recount(&mut transaction, &known, None).await?;
    transaction.commit().await?;
    rows.into_iter()
        .map(|row| {
            let moved = row.to_status.map(|to| -> sqlx::Result<Move> {
                let from = row.from_status.as_deref().map(status).transpose()?;
                Ok(Move { from, to: status(&to)? })
            });
            Ok(Recorded {
                outcome: outcome(&row.outcome)?,
                moved: moved.transpose()?,
                stood: row.stood.as_deref().map(status).transpose()?,
                tells_unknown_error: row.tells_unknown_error,
                news: row.news,
                queued: row.queued,
            })
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
        _ => Err(sqlx::Error::Decode(Box::new(crate::domain::render::Unknown))),
    }
}
