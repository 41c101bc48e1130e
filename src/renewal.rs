//! Fresh URLs for files whose URLs have expired, and first ones for renders that are complete without any.
//!
//! A worker that finds a dead URL [`want`]s a fresh one: the wish is the render's, in its row. One renewer of all
//! processes takes it, asks the details call, and records the answer as any other word, which puts the fresh URLs in
//! the place of the old ones and the files up at once. Guaranteed: a render is asked for once, however many of its
//! files and workers want it; and trouble of the account or the API pauses the asking, and fails no file.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tracing::{debug, info, warn};

use crate::clock::Clock;
use crate::database::{BACKGROUND, Database};
use crate::event::SignedUrl;
use crate::log::LogEvent;
use crate::magic_hour::{MagicHour, Trouble};
use crate::queue::{Lease, LeaseLost, Reason};
use crate::record::{self, Word};
use crate::render::{Kind, RenderId};
use crate::shutdown::Shutdown;

/// How long a question may take before another renewer asks it again.
const CLAIM: Duration = Duration::from_mins(2);
/// Who got no fresher URL within this time does not get one by asking again.
pub const ENOUGH: Duration = Duration::from_mins(10);
/// How often wishes are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// The first and the longest gap between two questions about a render that told no URL, and between two to an API in
/// trouble.
const GAPS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(1));
/// How long a file waits for a fresh URL before it is tried again without one.
const WAIT: Duration = Duration::from_hours(1);

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The details call will be asked; the file waits.
    Taken,
    /// A fresh URL had come already: the file is up at once.
    Fresh,
    /// It was asked a short while ago and had nothing fresher.
    InVain,
}

/// Wants a fresh URL in the place of `url`, and puts the download back in the queue to wait for it. The attempt does
/// not count. With [`Wish::InVain`] nothing is changed, and the lease still holds.
pub async fn want(
    pool: &PgPool,
    lease: &Lease,
    url: &SignedUrl,
    reason: &Reason,
    now: DateTime<Utc>,
) -> sqlx::Result<Result<Wish, LeaseLost>> {
    let id = lease.render_id().as_str();
    let mut transaction = pool.begin().await?;
    // The render before the download, as everyone takes them; and first, so that what follows sees the newest URL.
    let render = sqlx::query!("SELECT urls_due_at, urls_asked_at FROM renders WHERE id = $1 FOR UPDATE", id)
        .fetch_one(&mut *transaction)
        .await?;
    let held = sqlx::query_scalar!(
        "SELECT url FROM downloads WHERE render_id = $1 AND index = $2 AND lease = $3",
        id,
        lease.index(),
        lease.token(),
    );
    let Some(current) = held.fetch_optional(&mut *transaction).await? else { return Ok(Err(LeaseLost)) };
    let asked_lately = render.urls_asked_at.is_some_and(|asked| asked > now - ENOUGH);
    let wish = match (current.as_deref() == Some(url.expose().as_str()), render.urls_due_at) {
        (false, _) => Wish::Fresh,
        (true, None) if asked_lately => return Ok(Ok(Wish::InVain)),
        (true, _) => Wish::Taken,
    };
    if wish == Wish::Taken && render.urls_due_at.is_none() {
        let wanted = sqlx::query!("UPDATE renders SET urls_due_at = $2, urls_tries = 0 WHERE id = $1", id, now);
        wanted.execute(&mut *transaction).await?;
    }
    let due_at = if wish == Wish::Fresh { now } else { now + WAIT };
    sqlx::query!(
        "UPDATE downloads
         SET state = 'pending', lease = NULL, due_at = $3, attempts = attempts - 1, error_code = $4, error_message = $5,
             updated_at = $6
         WHERE render_id = $1 AND index = $2",
        id,
        lease.index(),
        due_at,
        reason.code,
        reason.message,
        now,
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Ok(wish))
}

/// A wish that this process has taken.
#[derive(Debug)]
struct Taken {
    id: RenderId,
    kind: Kind,
    tries: u32,
}

async fn take(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Option<Taken>> {
    let row = sqlx::query!(
        "UPDATE renders
         SET urls_due_at = $2, urls_asked_at = $1, urls_tries = urls_tries + 1
         WHERE id = (SELECT id FROM renders WHERE urls_due_at <= $1 ORDER BY urls_due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING id, kind, urls_tries",
        now,
        now + CLAIM,
    );
    let decode = |error: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Decode(error);
    let Some(row) = row.fetch_optional(pool).await? else { return Ok(None) };
    Ok(Some(Taken {
        id: row.id.parse().map_err(|error| decode(Box::new(error)))?,
        kind: row.kind.parse().map_err(|error| decode(Box::new(error)))?,
        tries: row.urls_tries.unsigned_abs(),
    }))
}

/// Ends a question: the files that wait for it are up again, each with the URL that it has now, fresher or not. A render
/// without files is asked for again at `again`.
async fn end(pool: &PgPool, id: &RenderId, now: DateTime<Utc>, again: DateTime<Utc>) -> sqlx::Result<()> {
    let ended = sqlx::query!(
        "WITH render AS (
             UPDATE renders
             SET urls_due_at = CASE WHEN NOT EXISTS (SELECT FROM downloads WHERE render_id = $1) THEN $3::timestamptz END
             WHERE id = $1
             RETURNING id
         )
         UPDATE downloads SET due_at = $2 FROM render WHERE render_id = render.id AND state = 'pending' AND due_at > $2",
        id.as_str(),
        now,
        again,
    );
    // OK that no file may wait.
    ended.execute(pool).await.map(drop)
}

/// Says when the render is to be asked for again.
async fn put_off(pool: &PgPool, id: &RenderId, until: DateTime<Utc>) -> sqlx::Result<()> {
    let put_off = sqlx::query!("UPDATE renders SET urls_due_at = $2 WHERE id = $1", id.as_str(), until);
    // OK that the row may be gone: then nobody asks.
    put_off.execute(pool).await.map(drop)
}

/// Asks for the URLs that are wanted.
#[derive(Debug)]
pub struct Renewer {
    /// Where the wishes are.
    pub database: Database,
    /// Who knows the URLs.
    pub magic_hour: MagicHour,
    /// What time it is.
    pub clock: Clock,
}

impl Renewer {
    /// Works until it is time to stop.
    pub async fn run(&self, shutdown: &Shutdown) {
        let mut refusals = 0;
        while !shutdown.is_stopping() {
            let gap = match self.step().await {
                Step::Idle => LOOK,
                Step::Asked => {
                    refusals = 0;
                    continue;
                }
                Step::Refused { trouble, after } => {
                    if refusals == 0 {
                        warn!(event = %LogEvent::PollRefused, error = trouble, "asking for fresh URLs pauses: no file fails of it");
                    }
                    refusals += 1;
                    after.unwrap_or_default().max(gap(refusals))
                }
            };
            tokio::select! {
                () = shutdown.stopping() => {}
                () = tokio::time::sleep(gap) => {}
            }
        }
    }

    async fn step(&self) -> Step {
        let pool = self.database.pool();
        let asked_at = self.clock.now();
        let Ok(Some(taken)) = self.database.within(BACKGROUND, take(pool, asked_at)).await else { return Step::Idle };
        debug!(event = %LogEvent::PollAsked, render.id = %taken.id, render.kind = %taken.kind, "asking for fresh URLs");
        match self.magic_hour.details(taken.kind, &taken.id).await {
            Ok(payload) => match self.record(&taken, Word::poll(taken.kind, payload, asked_at)).await {
                Some(()) => self.answered(&taken, asked_at, gap(taken.tries)).await,
                None => Step::Idle, // the claim runs out, and it is asked for again
            },
            Err(Trouble::Account { message, after, .. }) => {
                // What is not put off is asked for again when the claim runs out.
                let _ = self.database.within(BACKGROUND, put_off(pool, &taken.id, asked_at)).await;
                Step::Refused { trouble: message, after }
            }
            Err(trouble) => {
                warn!(event = %LogEvent::PollRefused, render.id = %taken.id, error = %trouble, "no fresh URLs for this render");
                self.answered(&taken, asked_at, gap(taken.tries).max(CLAIM)).await
            }
        }
    }

    /// Ends a question: whoever waits goes on, and a render still without files is asked for again after `gap`.
    async fn answered(&self, taken: &Taken, asked_at: DateTime<Utc>, gap: Duration) -> Step {
        let ended = end(self.database.pool(), &taken.id, asked_at, asked_at + gap);
        // What cannot be ended now is asked for again when the claim runs out.
        let _ = self.database.within(BACKGROUND, ended).await;
        Step::Asked
    }

    /// Records what the details call told.
    async fn record(&self, taken: &Taken, word: Word) -> Option<()> {
        let words = [word];
        let recorded = record::record(self.database.pool(), self.clock.now(), &words);
        let recorded = self.database.within(BACKGROUND, recorded).await.ok()?.pop()?;
        info!(
            event = %LogEvent::PollAnswered, render.id = %taken.id, render.kind = %taken.kind,
            downloads.queued = recorded.queued, "the details call answered"
        );
        record::say_moved(&taken.id, Some(taken.kind), recorded.moved);
        if recorded.queued > 0 {
            info!(event = %LogEvent::DownloadRenewed, render.id = %taken.id, downloads.queued = recorded.queued, "fresh URLs came");
        }
        Some(())
    }
}

enum Step {
    Idle,
    Asked,
    Refused { trouble: String, after: Option<Duration> },
}

/// Gaps that double.
fn gap(times: u32) -> Duration {
    GAPS.0.saturating_mul(1 << times.saturating_sub(1).min(16)).min(GAPS.1)
}
