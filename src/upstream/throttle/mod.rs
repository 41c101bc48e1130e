//! Limits the rate of calls to Magic Hour (the only row of `upstream_throttle`), and pauses those of an account (its row of
//! `upstream_accounts`), for all processes together.
//!
//! The rules are in [`state`]. Guaranteed: all processes together respect one rate limit for all accounts; a pause affects one
//! account in all processes.

mod state;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool, PgTransaction};
use tracing::{error, info, warn};

use self::state::{AccountState, is_call_due};
pub(super) use self::state::{CLOCK_SKEW, FailureEffect, MAX_PAUSE, Turn};
use super::accounts::{Account, Accounts};
use super::error::{FailureScope, UpstreamError};
use crate::domain::RenderId;
use crate::runtime::{BACKGROUND_TIMEOUT, Clock, Database, DatabaseError, LogEvent, begin};

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

    /// Takes the turn for a call at `now`, in the caller's transaction. Returns `false` if it is too early. The turn is only
    /// used up if the transaction commits.
    pub(super) async fn take_turn(
        &self,
        transaction: &mut PgTransaction<'_>,
        now: DateTime<Utc>,
    ) -> sqlx::Result<bool> {
        // If the row is locked, another process is taking its turn.
        let Some(next_call_at) = try_lock_rate(transaction).await? else { return Ok(false) };
        let is_due = is_call_due(next_call_at, self.call_interval, now);
        if is_due {
            let next = sqlx::query!("UPDATE upstream_throttle SET next_call_at = $1", now + self.call_interval);
            next.execute(&mut **transaction).await?;
        }
        Ok(is_due)
    }

    /// Whether calls of an account are paused.
    pub(super) async fn is_paused(&self, account: &Account) -> Result<bool, DatabaseError> {
        let (pool, now) = (self.database.pool(), self.clock.now());
        Ok(self.database.with_timeout(BACKGROUND_TIMEOUT, read(pool, account)).await?.is_paused(now))
    }

    /// Waits for the turn for a call of an account. Returns `false` if its calls are paused.
    pub(super) async fn wait_for_turn(&self, account: &Account) -> Result<bool, DatabaseError> {
        loop {
            let now = self.clock.now();
            let turn = self.database.with_timeout(BACKGROUND_TIMEOUT, async {
                let mut transaction = begin(self.database.pool(), "BEGIN").await?;
                if read(&mut *transaction, account).await?.is_paused(now) {
                    return Ok(Turn::Paused);
                }
                let is_due = self.take_turn(&mut transaction, now).await?;
                transaction.commit().await?;
                Ok(if is_due { Turn::Granted } else { Turn::TooEarly })
            });
            match turn.await? {
                Turn::Granted => return Ok(true),
                Turn::Paused => return Ok(false),
                Turn::TooEarly => tokio::time::sleep(self.call_interval).await,
            }
        }
    }

    /// Records that a call of `account` about `render` at `called_at` failed, and returns what it affects. Logs when a pause
    /// begins.
    pub(super) async fn record_failure(
        &self,
        account: &Account,
        error: &UpstreamError,
        render: &RenderId,
        called_at: DateTime<Utc>,
    ) -> FailureEffect {
        if error.scope() == FailureScope::Render {
            // The API itself works.
            self.record_success(account, called_at).await;
            return FailureEffect::Render;
        }
        let now = self.clock.now();
        let decide = |state: AccountState| state.after_failure(error, render, called_at, now);
        let change = change(self.database.pool(), account, decide);
        // OK if the database fails: then there are no calls anyway.
        let effect = self.database.with_timeout(BACKGROUND_TIMEOUT, change).await.unwrap_or(FailureEffect::Render);
        if effect == (FailureEffect::AllCalls { pause_began: true }) {
            log_pause(account, error);
        }
        effect
    }

    /// Records that the API answered a call of `account` made at `called_at`.
    pub(super) async fn record_success(&self, account: &Account, called_at: DateTime<Utc>) {
        let (pool, now) = (self.database.pool(), self.clock.now());
        let resumed = self.database.with_timeout(BACKGROUND_TIMEOUT, async {
            // Usually there is nothing to change, so do not lock the row.
            if read(pool, account).await?.after_success(called_at, now).is_none() {
                return Ok(false);
            }
            change(pool, account, |state| {
                let (was_paused, after) = (state.failures > 0, state.after_success(called_at, now));
                (was_paused && after.is_some(), after)
            })
            .await
        });
        if let Ok(true) = resumed.await {
            info!(
                event = %LogEvent::UpstreamResumed, account = account.position,
                "calls to Magic Hour's API work again"
            );
        }
    }

    /// Records the start of a process. A pause of an account ends, because what was wrong may have been fixed, unless Magic
    /// Hour requested it.
    pub(super) async fn record_start(&self, accounts: &Accounts) -> Result<(), DatabaseError> {
        let now = self.clock.now();
        for account in accounts.iter() {
            let change = change(self.database.pool(), account, |state| ((), Some(state.after_start(now))));
            self.database.with_timeout(BACKGROUND_TIMEOUT, change).await?;
        }
        Ok(())
    }
}

fn log_pause(account: &Account, failure: &UpstreamError) {
    let (code, position) = (failure.code(), account.position);
    let what = format!("all calls of {account} are paused and retried with backoff");
    if failure.needs_operator() {
        error!(event = %LogEvent::UpstreamPaused, account = position, error = %code, "{failure}: {what}");
    } else {
        warn!(event = %LogEvent::UpstreamPaused, account = position, error = %code, "{failure}: {what}");
    }
}

/// Updates the row of an account as decided by `decide`.
async fn change<T>(
    pool: &PgPool,
    account: &Account,
    decide: impl FnOnce(AccountState) -> (T, Option<AccountState>),
) -> sqlx::Result<T> {
    let mut transaction = begin(pool, "BEGIN").await?;
    let id = account.id.as_str();
    let created =
        sqlx::query!("INSERT INTO upstream_accounts (account) VALUES ($1) ON CONFLICT (account) DO NOTHING", id);
    created.execute(&mut *transaction).await?;
    let row = sqlx::query_as!(
        AccountRow,
        "SELECT paused_until, retry_after_until, failures, suspect_render_id
         FROM upstream_accounts WHERE account = $1
         FOR UPDATE",
        id,
    );
    let (result, after) = decide(row.fetch_one(&mut *transaction).await?.into());
    if let Some(after) = after {
        write(&mut transaction, id, &after).await?;
    }
    transaction.commit().await?;
    Ok(result)
}

/// The fingerprints of the accounts whose calls are paused at `now`.
pub async fn paused_accounts(executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<Vec<String>> {
    let rows = sqlx::query!(
        "SELECT account, paused_until, retry_after_until, failures, suspect_render_id FROM upstream_accounts"
    );
    let rows = rows.fetch_all(executor).await?.into_iter().map(|row| {
        let state = AccountRow {
            paused_until: row.paused_until,
            retry_after_until: row.retry_after_until,
            failures: row.failures,
            suspect_render_id: row.suspect_render_id,
        };
        (row.account, AccountState::from(state))
    });
    Ok(rows.filter(|(_, state)| state.is_paused(now)).map(|(account, _)| account).collect())
}

/// The state of an account. One without a row has never failed.
async fn read(executor: impl PgExecutor<'_>, account: &Account) -> sqlx::Result<AccountState> {
    let row = sqlx::query_as!(
        AccountRow,
        "SELECT paused_until, retry_after_until, failures, suspect_render_id FROM upstream_accounts WHERE account = $1",
        account.id.as_str(),
    );
    Ok(row.fetch_optional(executor).await?.map(AccountState::from).unwrap_or_default())
}

/// Locks the row with the rate, and returns the time of the next call, or `None` if another process holds the lock. If a
/// process freezes while it holds the lock, Postgres ends its transaction.
async fn try_lock_rate(transaction: &mut PgTransaction<'_>) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query!("SELECT set_config('idle_in_transaction_session_timeout', '15s', true)")
        .fetch_one(&mut **transaction)
        .await?;
    let row = sqlx::query_scalar!("SELECT next_call_at FROM upstream_throttle FOR UPDATE SKIP LOCKED");
    row.fetch_optional(&mut **transaction).await
}

async fn write(transaction: &mut PgTransaction<'_>, account: &str, state: &AccountState) -> sqlx::Result<()> {
    let written = sqlx::query!(
        "UPDATE upstream_accounts
         SET paused_until = $2, retry_after_until = $3, failures = $4, suspect_render_id = $5
         WHERE account = $1",
        account,
        state.paused_until,
        state.retry_after_until,
        i32::try_from(state.failures).unwrap_or(i32::MAX),
        state.suspect,
    );
    let written = written.execute(&mut **transaction).await?;
    debug_assert_eq!(written.rows_affected(), 1, "the row is locked");
    Ok(())
}

struct AccountRow {
    paused_until: DateTime<Utc>,
    retry_after_until: DateTime<Utc>,
    failures: i32,
    suspect_render_id: Option<String>,
}

impl From<AccountRow> for AccountState {
    fn from(row: AccountRow) -> Self {
        Self {
            paused_until: row.paused_until,
            retry_after_until: row.retry_after_until,
            failures: row.failures.unsigned_abs(),
            suspect: row.suspect_render_id,
        }
    }
}
