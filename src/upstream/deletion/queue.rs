//! The queue of projects to delete: the columns `deletion…` of `renders`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::files::FileRecord;
use crate::domain::{DownloadState, Kind, ObjectKey, RenderId};
use crate::runtime::begin;
use crate::upstream::accounts::{AccountId, ProjectFinder};
use crate::upstream::throttle::{CLOCK_SKEW, paused_accounts};

/// How long a claim lasts unless it is renewed.
const CLAIM_DURATION: Duration = Duration::from_mins(10);
/// How often a claim is renewed while files are read back.
pub(super) const RENEW_INTERVAL: Duration = Duration::from_mins(3);
/// The first and the maximum delay before a retry.
const RETRY_DELAY: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(24));

/// The final outcome of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletionOutcome {
    /// Magic Hour has deleted the project, or no longer knows it.
    Deleted,
    /// Magic Hour refuses to delete it.
    Refused,
    /// A stored object does not match its record, so the project is not deleted.
    Unproven,
}

impl DeletionOutcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Deleted, Self::Refused, Self::Unproven];

    /// The string in database rows and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Refused => "refused",
            Self::Unproven => "unproven",
        }
    }
}

/// A claim to delete a render's project.
#[derive(Debug)]
pub(super) struct DeletionClaim {
    pub(super) id: RenderId,
    pub(super) kind: Kind,
    /// The account that is known to own the project.
    pub(super) account: Option<AccountId>,
    /// In the order of `downloads`.
    pub(super) files: Vec<FileRecord>,
    /// The number of attempts, including this one.
    attempts: u32,
    /// When the claim expires. This also identifies the claim.
    until: DateTime<Utc>,
}

/// Claims a render that is complete and whose files were all stored while the setting was on. Returns `None` while calls
/// of all accounts are paused, and leaves out renders of paused ones.
pub(super) async fn claim(
    pool: &PgPool,
    finder: &ProjectFinder,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DeletionClaim>> {
    let mut transaction = begin(pool, "BEGIN").await?;
    let paused = paused_accounts(&mut *transaction, now).await?;
    if finder.accounts.iter().all(|account| paused.iter().any(|it| it == account.id.as_str())) {
        return Ok(None);
    }
    let row = sqlx::query!(
        r#"UPDATE renders
           SET deletion_due_at = $2, deletion_attempts = deletion_attempts + 1
           WHERE id = (
               SELECT r.id
               FROM renders AS r
               WHERE r.archive = 'stored' AND r.deletion IS NULL
                   -- A time further ahead than possible comes from a clock that was wrong.
                   AND coalesce(r.deletion_due_at <= $1 OR r.deletion_due_at > $3, true)
                   AND coalesce(r.account <> ALL ($4), true)
                   AND r.id IN (SELECT render_id FROM downloads WHERE delete_after_store)
                   AND NOT EXISTS (SELECT FROM downloads WHERE render_id = r.id AND NOT delete_after_store)
               ORDER BY r.deletion_due_at NULLS FIRST, r.id
               LIMIT 1
               FOR UPDATE SKIP LOCKED
           )
           RETURNING id, kind, account, deletion_attempts, deletion_due_at AS "until!""#,
        now,
        now + CLAIM_DURATION,
        now + RETRY_DELAY.1 + CLOCK_SKEW,
        &paused,
    );
    let Some(row) = row.fetch_optional(&mut *transaction).await? else { return Ok(None) };
    let Some(files) = stored_files(&mut transaction, &row.id).await? else { return Ok(None) };
    transaction.commit().await?;
    Ok(Some(DeletionClaim {
        id: row.id.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        kind: row.kind.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        account: row.account.and_then(|account| account.parse().ok()),
        files,
        attempts: row.deletion_attempts.unsigned_abs(),
        until: row.until,
    }))
}

/// A render's files in order; `None` unless all of them are stored.
async fn stored_files(connection: &mut PgConnection, id: &str) -> sqlx::Result<Option<Vec<FileRecord>>> {
    let rows = sqlx::query!("SELECT key, url, sha256, state FROM downloads WHERE render_id = $1 ORDER BY index", id);
    let rows = rows.fetch_all(connection).await?;
    let files = rows.into_iter().map(|row| {
        Some(FileRecord {
            key: ObjectKey::from_row(row.key),
            sha256: row.sha256.filter(|_| row.state.parse() == Ok(DownloadState::Stored))?,
            url_path: FileRecord::url_path(&row.url?),
        })
    });
    Ok(files.collect())
}

/// Renews the claim. Returns `false` if another process has taken over.
pub(super) async fn renew(pool: &PgPool, claim: &mut DeletionClaim, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let renewed = sqlx::query_scalar!(
        r#"UPDATE renders SET deletion_due_at = $3 WHERE id = $1 AND deletion_due_at = $2
           RETURNING deletion_due_at AS "until!""#,
        claim.id.as_str(),
        claim.until,
        now + CLAIM_DURATION,
    );
    let Some(until) = renewed.fetch_optional(pool).await? else { return Ok(false) };
    claim.until = until;
    Ok(true)
}

/// Whether the claim is still valid and the files are unchanged. Checked under the render's lock, which is also taken when
/// a file is added.
pub(super) async fn is_still_valid(pool: &PgPool, claim: &DeletionClaim) -> sqlx::Result<bool> {
    let mut transaction = begin(pool, "BEGIN").await?;
    let held = sqlx::query_scalar!(
        r#"SELECT (deletion IS NULL AND deletion_due_at = $2) AS "held!" FROM renders WHERE id = $1 FOR UPDATE"#,
        claim.id.as_str(),
        claim.until,
    );
    let held = held.fetch_optional(&mut *transaction).await?.unwrap_or(false);
    let files = stored_files(&mut transaction, claim.id.as_str()).await?;
    transaction.commit().await?;
    Ok(held && files.as_ref() == Some(&claim.files))
}

/// Postpones the deletion with exponential backoff, shortened by up to a fifth by `jitter` (0 to 1), but at least until
/// `retry_after`.
pub(super) async fn postpone(
    pool: &PgPool,
    claim: &DeletionClaim,
    retry_after: Option<Duration>,
    jitter: f64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let delay = retry_delay(claim.attempts, jitter).max(retry_after.unwrap_or_default().min(RETRY_DELAY.1));
    let postponed = sqlx::query!(
        "UPDATE renders SET deletion_due_at = $3 WHERE id = $1 AND deletion_due_at = $2",
        claim.id.as_str(),
        claim.until,
        now + delay,
    );
    // OK if no row is updated: then the claim has expired, and another process has taken over.
    postponed.execute(pool).await.map(drop)
}

fn retry_delay(attempts: u32, jitter: f64) -> Duration {
    let (first, max) = RETRY_DELAY;
    let delay = first.saturating_mul(1 << attempts.saturating_sub(1).min(31)).min(max);
    delay.mul_f64(1.0 - 0.2 * jitter.clamp(0.0, 1.0))
}

/// Records the outcome, and removes the render from the queue.
pub(super) async fn settle(pool: &PgPool, id: &RenderId, outcome: DeletionOutcome) -> sqlx::Result<()> {
    let mut transaction = begin(pool, "BEGIN").await?;
    let settled = sqlx::query!(
        "UPDATE renders SET deletion = $2, deletion_due_at = NULL WHERE id = $1",
        id.as_str(),
        outcome.as_str(),
    );
    settled.execute(&mut *transaction).await?;
    let files = sqlx::query!("UPDATE downloads SET delete_after_store = false WHERE render_id = $1", id.as_str());
    files.execute(&mut *transaction).await?;
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_retry_delay_doubles_up_to_a_day() {
        let minutes: Vec<_> = (1..=13).map(|attempts| retry_delay(attempts, 0.0).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440, 1440]);
        assert_eq!((retry_delay(1, 1.0).as_secs(), retry_delay(u32::MAX, 0.0)), (48, RETRY_DELAY.1));
    }
}
