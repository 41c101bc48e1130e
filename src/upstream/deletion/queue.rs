//! Which project is deleted next, and what became of it: the columns `deletion…` of `renders`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::files::StoredFile;
use crate::domain::{Kind, ObjectKey, RenderId};
use crate::upstream::throttle::{CLOCK_SKEW, LONGEST_PAUSE};

/// How long a claim holds unless it is renewed.
const CLAIM: Duration = Duration::from_mins(10);
/// How often a claim is renewed while files are read back.
pub(super) const RENEW_INTERVAL: Duration = Duration::from_mins(3);
/// The first and the longest gap before a deletion is tried again.
const RETRY: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(24));

/// What became of a deletion in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletionOutcome {
    /// Magic Hour has deleted the project, or does not know it any more.
    Deleted,
    /// Magic Hour does not delete it.
    Refused,
    /// A stored object is not what was stored, so the project is left alone.
    Unproven,
}

impl DeletionOutcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Deleted, Self::Refused, Self::Unproven];

    /// The word in rows and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Refused => "refused",
            Self::Unproven => "unproven",
        }
    }
}

/// A render whose project this process may delete.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) id: RenderId,
    pub(super) kind: Kind,
    /// In the order of `downloads`.
    pub(super) files: Vec<StoredFile>,
    /// How many times the deletion was tried, this time included.
    attempts: u32,
    /// The end of the claim, which identifies it.
    until: DateTime<Utc>,
}

/// Claims a render that is complete, all of whose files were stored while the setting was on. None while calls pause.
pub(super) async fn claim(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Option<Claim>> {
    let mut transaction = pool.begin().await?;
    let row = sqlx::query!(
        r#"UPDATE renders
           SET deletion_due_at = $2, deletion_attempts = deletion_attempts + 1
           WHERE id = (
               SELECT r.id
               FROM renders AS r
               WHERE r.archive = 'stored' AND r.deletion IS NULL
                   -- What lies further ahead than it can was written by a clock that was wrong.
                   AND coalesce(r.deletion_due_at <= $1 OR r.deletion_due_at > $3, true)
                   AND NOT EXISTS (SELECT FROM upstream_throttle WHERE paused_until > $1 AND paused_until <= $4)
                   AND r.id IN (SELECT render_id FROM downloads WHERE delete_wanted)
                   AND NOT EXISTS (SELECT FROM downloads WHERE render_id = r.id AND NOT delete_wanted)
               ORDER BY r.deletion_due_at NULLS FIRST, r.id
               LIMIT 1
               FOR UPDATE SKIP LOCKED
           )
           RETURNING id, kind, deletion_attempts, deletion_due_at AS "until!""#,
        now,
        now + CLAIM,
        now + RETRY.1 + CLOCK_SKEW,
        now + LONGEST_PAUSE + CLOCK_SKEW,
    );
    let Some(row) = row.fetch_optional(&mut *transaction).await? else { return Ok(None) };
    let Some(files) = stored_files(&mut transaction, &row.id).await? else { return Ok(None) };
    transaction.commit().await?;
    Ok(Some(Claim {
        id: row.id.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        kind: row.kind.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        files,
        attempts: row.deletion_attempts.unsigned_abs(),
        until: row.until,
    }))
}

/// A render's files in their order; `None` unless all of them are stored.
async fn stored_files(connection: &mut PgConnection, id: &str) -> sqlx::Result<Option<Vec<StoredFile>>> {
    let rows = sqlx::query!("SELECT key, url, sha256, state FROM downloads WHERE render_id = $1 ORDER BY index", id);
    let rows = rows.fetch_all(connection).await?;
    let files = rows.into_iter().map(|row| {
        Some(StoredFile {
            key: ObjectKey::from_row(row.key),
            sha256: row.sha256.filter(|_| row.state == "stored")?,
            url_path: StoredFile::url_path(&row.url?),
        })
    });
    Ok(files.collect())
}

/// Keeps the claim; `false` if another process has it.
pub(super) async fn renew(pool: &PgPool, claim: &mut Claim, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let renewed = sqlx::query_scalar!(
        r#"UPDATE renders SET deletion_due_at = $3 WHERE id = $1 AND deletion_due_at = $2
           RETURNING deletion_due_at AS "until!""#,
        claim.id.as_str(),
        claim.until,
        now + CLAIM,
    );
    let Some(until) = renewed.fetch_optional(pool).await? else { return Ok(false) };
    claim.until = until;
    Ok(true)
}

/// Whether, right now, the claim holds and the render's files are the claim's: looked at under the render's lock, which
/// whoever adds a file takes as well.
pub(super) async fn still_holds(pool: &PgPool, claim: &Claim) -> sqlx::Result<bool> {
    let mut transaction = pool.begin().await?;
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

/// Tries the deletion again later: after gaps that double, shortened by up to a fifth by `chance`, and not before
/// `retry_after`.
pub(super) async fn postpone(
    pool: &PgPool,
    claim: &Claim,
    retry_after: Option<Duration>,
    chance: f64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let gap = retry_gap(claim.attempts, chance).max(retry_after.unwrap_or_default().min(RETRY.1));
    let postponed = sqlx::query!(
        "UPDATE renders SET deletion_due_at = $3 WHERE id = $1 AND deletion_due_at = $2",
        claim.id.as_str(),
        claim.until,
        now + gap,
    );
    // OK that the claim may have run out: then another process has it.
    postponed.execute(pool).await.map(drop)
}

fn retry_gap(attempts: u32, chance: f64) -> Duration {
    let (first, longest) = RETRY;
    let gap = first.saturating_mul(1 << attempts.saturating_sub(1).min(31)).min(longest);
    gap.mul_f64(1.0 - 0.2 * chance.clamp(0.0, 1.0))
}

/// Records what became of the deletion. Nothing looks at the render's files for it any more.
pub(super) async fn settle(pool: &PgPool, id: &RenderId, outcome: DeletionOutcome) -> sqlx::Result<()> {
    let mut transaction = pool.begin().await?;
    let settled = sqlx::query!(
        "UPDATE renders SET deletion = $2, deletion_due_at = NULL WHERE id = $1",
        id.as_str(),
        outcome.as_str(),
    );
    settled.execute(&mut *transaction).await?;
    let files = sqlx::query!("UPDATE downloads SET delete_wanted = false WHERE render_id = $1", id.as_str());
    files.execute(&mut *transaction).await?;
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_tried_again_at_gaps_that_double_up_to_a_day() {
        let minutes: Vec<_> = (1..=13).map(|attempts| retry_gap(attempts, 0.0).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440, 1440]);
        assert_eq!((retry_gap(1, 1.0).as_secs(), retry_gap(u32::MAX, 0.0)), (48, RETRY.1));
    }
}
