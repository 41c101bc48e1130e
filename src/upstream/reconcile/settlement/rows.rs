//! The rows that a poll changes: the render's, and those of downloads that waited for the answer.

use chrono::{DateTime, Utc};
use sqlx::PgTransaction;

use super::decide::{MissingFiles, PollOutcome, PollSettlement, PolledRender};
use crate::domain::{FileCounts, Notification, Progress, Status};
use crate::feed::Outbox;
use crate::runtime::{Tallies, begin};
use crate::upstream::reconcile::Reconciler;
use crate::upstream::reconcile::queue::PollClaim;
use crate::upstream::reconcile::schedule::NextPoll;

impl Reconciler {
    /// Settles a poll: schedules the next one, makes downloads due that waited for it, and reports a shortage of files that no
    /// poll will end. If an event or a request has changed the schedule since the claim, that change stays. Returns how many
    /// files are known from now on to be missing.
    pub(in crate::upstream::reconcile) async fn settle(
        &self,
        claim: &PollClaim,
        outcome: PollOutcome,
    ) -> sqlx::Result<i32> {
        let now = self.clock.now();
        let mut transaction = begin(self.database.pool(), "BEGIN").await?;
        // If the claim has expired, another process settles.
        let Some(claimed) = lock(&mut transaction, claim).await? else { return Ok(0) };
        if !claimed.is_unchanged {
            release(&mut transaction, claim).await?;
            if claim.requested && !matches!(outcome, PollOutcome::Failed { .. }) {
                make_files_due(&mut transaction, claim, now).await?;
            }
            transaction.commit().await?;
            return Ok(0);
        }
        let settlement = claimed.render.settle(outcome, &self.schedule, now, rand::random());
        write(&mut transaction, claim, &claimed.render, &settlement, now).await?;
        if settlement.release_files {
            make_files_due(&mut transaction, claim, now).await?;
        }
        let mut missing = 0;
        if settlement.confirms_shortage {
            missing = claimed.progress.files.missing;
            self.confirm_shortage(&mut transaction, claim, claimed.progress, now).await?;
        }
        transaction.commit().await?;
        Ok(missing)
    }

    /// Records that the missing files will not come, and reports the render if its other files are settled. Writes the
    /// notification, so it is the last of the transaction.
    async fn confirm_shortage(
        &self,
        transaction: &mut PgTransaction<'_>,
        claim: &PollClaim,
        before: Progress,
        now: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        let confirmed = sqlx::query!(
            "UPDATE renders SET shortage_confirmed = true, updated_at = greatest(updated_at, $2) WHERE id = $1",
            claim.id.as_str(),
            now,
        );
        let confirmed = confirmed.execute(&mut **transaction).await?;
        debug_assert_eq!(confirmed.rows_affected(), 1, "the row is locked");
        let mut outbox = Outbox::default();
        let after = Progress { shortage_confirmed: true, ..before };
        outbox.extend(claim.id.as_str(), Notification::of_files(before, after));
        outbox.write(transaction, Tallies::default(), self.posted, now).await
    }
}

struct ClaimedRender {
    render: PolledRender,
    progress: Progress,
    /// Whether its schedule has not changed since the claim.
    is_unchanged: bool,
}

async fn lock(transaction: &mut PgTransaction<'_>, claim: &PollClaim) -> sqlx::Result<Option<ClaimedRender>> {
    let row = sqlx::query!(
        r#"SELECT
               kind, status, files_total, files_stored, files_failed, image_count, shortage_confirmed, poll_requested,
               failure_confirmed, poll_attempts, first_seen_at, not_found_at, stalled_at,
               coalesce(poll_due_at = $2, false) AS "is_unchanged!",
               EXISTS (SELECT FROM downloads WHERE render_id = $1 AND url IS NULL) AS "has_file_without_url!"
           FROM renders
           WHERE id = $1 AND poll_claimed_until = $2
           FOR UPDATE"#,
        claim.id.as_str(),
        claim.until,
    );
    let Some(row) = row.fetch_optional(&mut **transaction).await? else { return Ok(None) };
    let status = row.status.as_deref().map(str::parse::<Status>).transpose();
    let status = status.map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    let kind = row.kind.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    let files = FileCounts { total: row.files_total, stored: row.files_stored, failed: row.files_failed, missing: 0 };
    let files = files.with_announced(kind, row.image_count);
    Ok(Some(ClaimedRender {
        render: PolledRender {
            status,
            requested: row.poll_requested,
            failure_confirmed: row.failure_confirmed,
            lacks: MissingFiles {
                urls: files.total == 0 || row.has_file_without_url,
                announced: files.missing > 0 && !row.shortage_confirmed,
            },
            attempts: row.poll_attempts.unsigned_abs(),
            first_seen_at: row.first_seen_at,
            not_found_at: row.not_found_at,
            stalled_at: row.stalled_at,
        },
        progress: Progress { status, files, shortage_confirmed: row.shortage_confirmed },
        is_unchanged: row.is_unchanged,
    }))
}

async fn write(
    transaction: &mut PgTransaction<'_>,
    claim: &PollClaim,
    before: &PolledRender,
    after: &PollSettlement,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (due_at, never) = match after.next {
        None => (None, false),
        Some(NextPoll::At(at)) => (Some(at), false),
        Some(NextPoll::Never) => (None, true),
    };
    let is_visible_change = (before.not_found_at, before.stalled_at) != (after.not_found_at, after.stalled_at);
    let written = sqlx::query!(
        "UPDATE renders
         SET poll_claimed_until = NULL,
             poll_due_at = CASE WHEN $3 THEN 'infinity' ELSE $2::timestamptz END,
             poll_requested = $4, poll_attempts = $5, not_found_at = $6, stalled_at = $7,
             updated_at = greatest(updated_at, $8)
         WHERE id = $1",
        claim.id.as_str(),
        due_at,
        never,
        after.requested,
        i32::try_from(after.attempts).unwrap_or(i32::MAX),
        after.not_found_at,
        after.stalled_at,
        is_visible_change.then_some(now),
    );
    let written = written.execute(&mut **transaction).await?;
    debug_assert_eq!(written.rows_affected(), 1, "the row is locked");
    Ok(())
}

async fn release(transaction: &mut PgTransaction<'_>, claim: &PollClaim) -> sqlx::Result<()> {
    let released = sqlx::query!("UPDATE renders SET poll_claimed_until = NULL WHERE id = $1", claim.id.as_str());
    let released = released.execute(&mut **transaction).await?;
    debug_assert_eq!(released.rows_affected(), 1, "the row is locked");
    Ok(())
}

/// Makes a render's downloads due that waited for the answer, if there are any.
async fn make_files_due(
    transaction: &mut PgTransaction<'_>,
    claim: &PollClaim,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let released = sqlx::query!(
        "UPDATE downloads SET due_at = $2 WHERE render_id = $1 AND state = 'pending' AND due_at > $2",
        claim.id.as_str(),
        now,
    );
    released.execute(&mut **transaction).await.map(drop)
}
