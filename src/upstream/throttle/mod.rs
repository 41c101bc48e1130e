//! How fast all processes call Magic Hour together, and whether they call at all: the one row of `upstream_throttle`.
//!
//! The rules are in [`state`]; here the row is locked, read and written. Guaranteed: all processes together keep to one rate,
//! and a pause that one process began holds for all.

mod state;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgPool, PgTransaction};
use tracing::{error, info, warn};

use self::state::State;
pub(super) use self::state::{Blame, CLOCK_SKEW, LONGEST_PAUSE, Turn};
use super::error::{Scope, UpstreamError};
use crate::domain::RenderId;
use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database, DatabaseError, LogEvent};

/// The throttle of all processes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Throttle {
    database: Database,
    clock: Clock,
    gap: Duration,
}

impl Throttle {
    /// Calls at most once every `gap`.
    #[must_use]
    pub fn new(database: Database, clock: Clock, gap: Duration) -> Self {
        Self { database, clock, gap }
    }

    /// The shortest time between two calls of all processes together.
    pub(super) fn gap(&self) -> Duration {
        self.gap
    }

    /// Takes the turn to make a call at `now`, in the transaction of what the call is for. Nothing is spent unless it is
    /// granted and the transaction commits.
    pub(super) async fn take_turn(
        &self,
        transaction: &mut PgTransaction<'_>,
        now: DateTime<Utc>,
    ) -> sqlx::Result<Turn> {
        // Another process is taking its turn: it is not ours.
        let Some(state) = try_lock(transaction).await? else { return Ok(Turn::TooEarly) };
        let turn = state.turn(self.gap, now);
        if turn == Turn::Granted {
            write(transaction, &State { next_call_at: now + self.gap, ..state }).await?;
        }
        Ok(turn)
    }

    /// Waits for the turn to make a call; `false` if calls pause.
    pub(super) async fn wait_for_turn(&self) -> Result<bool, DatabaseError> {
        loop {
            let now = self.clock.now();
            let turn = self.database.with_timeout(BACKGROUND_TIMEOUT, async {
                let mut transaction = self.database.pool().begin().await?;
                let turn = self.take_turn(&mut transaction, now).await?;
                transaction.commit().await?;
                Ok(turn)
            });
            match turn.await? {
                Turn::Granted => return Ok(true),
                Turn::Paused => return Ok(false),
                Turn::TooEarly => tokio::time::sleep(self.gap).await,
            }
        }
    }

    /// Records that a call about `render`, made at `asked_at`, failed, and says whom that concerns. If calls pause now and
    /// did not before, the log says so.
    pub(super) async fn record_failure(
        &self,
        error: &UpstreamError,
        render: &RenderId,
        asked_at: DateTime<Utc>,
    ) -> Blame {
        if error.scope() == Scope::Render {
            // The API itself works.
            self.record_success(asked_at).await;
            return Blame::Render;
        }
        let now = self.clock.now();
        let change = change(self.database.pool(), |state| state.after_failure(error, render, asked_at, now));
        // Without a database nobody calls anyway.
        let blame = self.database.with_timeout(BACKGROUND_TIMEOUT, change).await.unwrap_or(Blame::Render);
        if blame == (Blame::Everyone { is_news: true }) {
            log_pause(error);
        }
        blame
    }

    /// Records that the API answered a call that was made at `asked_at`.
    pub(super) async fn record_success(&self, asked_at: DateTime<Utc>) {
        let (pool, now) = (self.database.pool(), self.clock.now());
        let resumed = self.database.with_timeout(BACKGROUND_TIMEOUT, async {
            // Almost always there is nothing to do, and nothing to lock.
            if read(pool).await?.after_success(asked_at, now).is_none() {
                return Ok(false);
            }
            change(pool, |state| {
                let (was_paused, after) = (state.failures > 0, state.after_success(asked_at, now));
                (was_paused && after.is_some(), after)
            })
            .await
        });
        if let Ok(true) = resumed.await {
            info!(event = %LogEvent::UpstreamResumed, "Magic Hour's API answers again: calls resume");
        }
    }

    /// Records the start of a process: it may have another key, so a pause that Magic Hour did not ask for ends.
    pub(super) async fn record_start(&self) -> Result<(), DatabaseError> {
        let now = self.clock.now();
        let change = change(self.database.pool(), |state| ((), Some(state.after_start(now))));
        self.database.with_timeout(BACKGROUND_TIMEOUT, change).await
    }
}

fn log_pause(failure: &UpstreamError) {
    let (code, what) = (failure.code(), "all calls pause, and are tried again with growing gaps");
    if failure.needs_person() {
        error!(event = %LogEvent::UpstreamPaused, error = %code, "{failure}: {what}");
    } else {
        warn!(event = %LogEvent::UpstreamPaused, error = %code, "{failure}: {what}");
    }
}

/// Changes the row as `decide` says.
async fn change<T>(pool: &PgPool, decide: impl FnOnce(State) -> (T, Option<State>)) -> sqlx::Result<T> {
    let mut transaction = pool.begin().await?;
    let row = sqlx::query_as!(
        Row,
        "SELECT next_call_at, paused_until, retry_after_until, failures, suspect_render_id
         FROM upstream_throttle
         FOR UPDATE"
    );
    let (decided, after) = decide(row.fetch_one(&mut *transaction).await?.into());
    if let Some(after) = after {
        write(&mut transaction, &after).await?;
    }
    transaction.commit().await?;
    Ok(decided)
}

async fn read(pool: &PgPool) -> sqlx::Result<State> {
    let row = sqlx::query_as!(
        Row,
        "SELECT next_call_at, paused_until, retry_after_until, failures, suspect_render_id FROM upstream_throttle"
    );
    Ok(row.fetch_one(pool).await?.into())
}

/// Locks the row unless another process has it. A process that is frozen while it has the row loses it.
async fn try_lock(transaction: &mut PgTransaction<'_>) -> sqlx::Result<Option<State>> {
    sqlx::query!("SELECT set_config('idle_in_transaction_session_timeout', '15s', true)")
        .fetch_one(&mut **transaction)
        .await?;
    let row = sqlx::query_as!(
        Row,
        "SELECT next_call_at, paused_until, retry_after_until, failures, suspect_render_id
         FROM upstream_throttle
         FOR UPDATE SKIP LOCKED"
    );
    Ok(row.fetch_optional(&mut **transaction).await?.map(State::from))
}

async fn write(transaction: &mut PgTransaction<'_>, state: &State) -> sqlx::Result<()> {
    let written = sqlx::query!(
        "UPDATE upstream_throttle
         SET next_call_at = $1, paused_until = $2, retry_after_until = $3, failures = $4, suspect_render_id = $5",
        state.next_call_at,
        state.paused_until,
        state.retry_after_until,
        i32::try_from(state.failures).unwrap_or(i32::MAX),
        state.suspect,
    );
    let written = written.execute(&mut **transaction).await?;
    debug_assert_eq!(written.rows_affected(), 1, "there is one row");
    Ok(())
}

struct Row {
    next_call_at: DateTime<Utc>,
    paused_until: DateTime<Utc>,
    retry_after_until: DateTime<Utc>,
    failures: i32,
    suspect_render_id: Option<String>,
}

impl From<Row> for State {
    fn from(row: Row) -> Self {
        Self {
            next_call_at: row.next_call_at,
            paused_until: row.paused_until,
            retry_after_until: row.retry_after_until,
            failures: row.failures.unsigned_abs(),
            suspect: row.suspect_render_id,
        }
    }
}
