//! Limits the rate of calls to Magic Hour and pauses them, for all processes together: the only row of
//! `upstream_throttle`.
//!
//! The rules are in [`state`]. Guaranteed: all processes together respect one rate limit, and a pause affects all of them.

mod state;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgPool, PgTransaction};
use tracing::{error, info, warn};

use self::state::ThrottleState;
pub(super) use self::state::{CLOCK_SKEW, FailureEffect, MAX_PAUSE, Turn};
use super::error::{FailureScope, UpstreamError};
use crate::domain::RenderId;
use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database, DatabaseError, LogEvent};

/// The throttle that all processes share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Throttle {
    database: Database,
    clock: Clock,
    call_interval: Duration,
}

impl Throttle {
    /// Allows at most one call per `call_interval`.
    #[must_use]
    pub fn new(database: Database, clock: Clock, call_interval: Duration) -> Self {
        Self { database, clock, call_interval }
    }

    /// The minimum time between two calls, for all processes together.
    pub(super) fn call_interval(&self) -> Duration {
        self.call_interval
    }

    /// Takes the turn for a call at `now`, in the caller's transaction. The turn is only used up if it is granted and the
    /// transaction commits.
    pub(super) async fn take_turn(
        &self,
        transaction: &mut PgTransaction<'_>,
        now: DateTime<Utc>,
    ) -> sqlx::Result<Turn> {
        // If the row is locked, another process is taking its turn.
        let Some(state) = try_lock(transaction).await? else { return Ok(Turn::TooEarly) };
        let turn = state.turn(self.call_interval, now);
        if turn == Turn::Granted {
            write(transaction, &ThrottleState { next_call_at: now + self.call_interval, ..state }).await?;
        }
        Ok(turn)
    }

    /// Waits for the turn for a call. Returns `false` if calls are paused.
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
                Turn::TooEarly => tokio::time::sleep(self.call_interval).await,
            }
        }
    }

    /// Records that a call about `render` at `called_at` failed, and returns what it affects. Logs when a pause begins.
    pub(super) async fn record_failure(
        &self,
        error: &UpstreamError,
        render: &RenderId,
        called_at: DateTime<Utc>,
    ) -> FailureEffect {
        if error.scope() == FailureScope::Render {
            // The API itself works.
            self.record_success(called_at).await;
            return FailureEffect::Render;
        }
        let now = self.clock.now();
        let change = change(self.database.pool(), |state| state.after_failure(error, render, called_at, now));
        // OK if the database fails: then there are no calls anyway.
        let effect = self.database.with_timeout(BACKGROUND_TIMEOUT, change).await.unwrap_or(FailureEffect::Render);
        if effect == (FailureEffect::AllCalls { pause_began: true }) {
            log_pause(error);
        }
        effect
    }

    /// Records that the API answered a call made at `called_at`.
    pub(super) async fn record_success(&self, called_at: DateTime<Utc>) {
        let (pool, now) = (self.database.pool(), self.clock.now());
        let resumed = self.database.with_timeout(BACKGROUND_TIMEOUT, async {
            // Usually there is nothing to change, so do not lock the row.
            if read(pool).await?.after_success(called_at, now).is_none() {
                return Ok(false);
            }
            change(pool, |state| {
                let (was_paused, after) = (state.failures > 0, state.after_success(called_at, now));
                (was_paused && after.is_some(), after)
            })
            .await
        });
        if let Ok(true) = resumed.await {
            info!(event = %LogEvent::UpstreamResumed, "calls to Magic Hour's API work again");
        }
    }

    /// Records the start of a process. It may have another API key, so a pause ends unless Magic Hour requested it.
    pub(super) async fn record_start(&self) -> Result<(), DatabaseError> {
        let now = self.clock.now();
        let change = change(self.database.pool(), |state| ((), Some(state.after_start(now))));
        self.database.with_timeout(BACKGROUND_TIMEOUT, change).await
    }
}

fn log_pause(failure: &UpstreamError) {
    let (code, what) = (failure.code(), "all calls are paused and retried with backoff");
    if failure.needs_operator() {
        error!(event = %LogEvent::UpstreamPaused, error = %code, "{failure}: {what}");
    } else {
        warn!(event = %LogEvent::UpstreamPaused, error = %code, "{failure}: {what}");
    }
}

/// Updates the row as decided by `decide`.
async fn change<T>(pool: &PgPool, decide: impl FnOnce(ThrottleState) -> (T, Option<ThrottleState>)) -> sqlx::Result<T> {
    let mut transaction = pool.begin().await?;
    let row = sqlx::query_as!(
        ThrottleRow,
        "SELECT next_call_at, paused_until, retry_after_until, failures, suspect_render_id
         FROM upstream_throttle
         FOR UPDATE"
    );
    let (result, after) = decide(row.fetch_one(&mut *transaction).await?.into());
    if let Some(after) = after {
        write(&mut transaction, &after).await?;
    }
    transaction.commit().await?;
    Ok(result)
}

async fn read(pool: &PgPool) -> sqlx::Result<ThrottleState> {
    let row = sqlx::query_as!(
        ThrottleRow,
        "SELECT next_call_at, paused_until, retry_after_until, failures, suspect_render_id FROM upstream_throttle"
    );
    Ok(row.fetch_one(pool).await?.into())
}

/// Locks the row, or returns `None` if another process holds the lock. If a process freezes while it holds the lock,
/// Postgres ends its transaction.
async fn try_lock(transaction: &mut PgTransaction<'_>) -> sqlx::Result<Option<ThrottleState>> {
    sqlx::query!("SELECT set_config('idle_in_transaction_session_timeout', '15s', true)")
        .fetch_one(&mut **transaction)
        .await?;
    let row = sqlx::query_as!(
        ThrottleRow,
        "SELECT next_call_at, paused_until, retry_after_until, failures, suspect_render_id
         FROM upstream_throttle
         FOR UPDATE SKIP LOCKED"
    );
    Ok(row.fetch_optional(&mut **transaction).await?.map(ThrottleState::from))
}

async fn write(transaction: &mut PgTransaction<'_>, state: &ThrottleState) -> sqlx::Result<()> {
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

struct ThrottleRow {
    next_call_at: DateTime<Utc>,
    paused_until: DateTime<Utc>,
    retry_after_until: DateTime<Utc>,
    failures: i32,
    suspect_render_id: Option<String>,
}

impl From<ThrottleRow> for ThrottleState {
    fn from(row: ThrottleRow) -> Self {
        Self {
            next_call_at: row.next_call_at,
            paused_until: row.paused_until,
            retry_after_until: row.retry_after_until,
            failures: row.failures.unsigned_abs(),
            suspect: row.suspect_render_id,
        }
    }
}
