//! One attempt to delete a project: the four checks, the call, and what the log says.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::{debug, error, info, warn};

use super::Deleter;
use super::files;
use super::queue::{self, Claim, DeletionOutcome};
use crate::archive::StoreError;
use crate::intake::record::{self, Observation};
use crate::runtime::{BACKGROUND_TIMEOUT, DatabaseError, LogEvent};
use crate::upstream::error::UpstreamError;
use crate::upstream::throttle::Blame;

/// Why a project is not deleted yet.
#[derive(Debug, thiserror::Error)]
enum Postponed {
    #[error("a stored file cannot be read back: {0}")]
    Unreadable(#[from] StoreError),
    #[error("Magic Hour lists a file that is not stored, or does not say that the render is complete")]
    NotAllStored,
    #[error("the files have changed since they were verified, or another process has taken over")]
    Changed,
    #[error("calls to Magic Hour pause")]
    Paused,
    #[error("{error}")]
    Upstream { error: UpstreamError, blame: Blame },
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Postponed {
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Upstream { error, .. } => error.retry_after(),
            Self::Unreadable(_) | Self::NotAllStored | Self::Changed | Self::Paused | Self::Database(_) => None,
        }
    }
}

impl Deleter {
    /// Deletes the project if everything is in order, and records what became of it. An error says that the database did
    /// not take that: then the claim runs out, and another attempt finds out.
    pub(super) async fn deal_with(&self, mut claim: Claim) -> Result<(), DatabaseError> {
        let pool = self.database.pool();
        match self.attempt(&mut claim).await {
            Ok(outcome) => {
                self.database.with_timeout(BACKGROUND_TIMEOUT, queue::settle(pool, &claim.id, outcome)).await?;
                log_outcome(&claim, outcome);
                Ok(())
            }
            Err(Postponed::Database(error)) => Err(error),
            Err(postponed) => {
                log_postponed(&claim, &postponed);
                let (retry_after, now) = (postponed.retry_after(), self.clock.now());
                self.database
                    .with_timeout(BACKGROUND_TIMEOUT, queue::postpone(pool, &claim, retry_after, rand::random(), now))
                    .await
            }
        }
    }

    async fn attempt(&self, claim: &mut Claim) -> Result<DeletionOutcome, Postponed> {
        if !self.are_intact(claim).await? {
            return Ok(DeletionOutcome::Unproven);
        }
        let deleted = match self.confirm_files(claim).await {
            Ok(()) => self.delete(claim).await,
            Err(postponed) => Err(postponed),
        };
        match deleted {
            Ok(()) => Ok(DeletionOutcome::Deleted),
            Err(Postponed::Upstream { error, blame }) => match outcome_of(&error) {
                Some(outcome) => Ok(outcome),
                None => Err(Postponed::Upstream { error, blame }),
            },
            Err(postponed) => Err(postponed),
        }
    }

    /// Reads every object back. The claim is renewed meanwhile, since that may take long.
    async fn are_intact(&self, claim: &mut Claim) -> Result<bool, Postponed> {
        let files = claim.files.clone();
        let intact = files::are_intact(&self.store, &files);
        tokio::pin!(intact);
        loop {
            tokio::select! {
                intact = &mut intact => return Ok(intact?),
                () = tokio::time::sleep(queue::RENEW_INTERVAL) => {
                    let renewed = queue::renew(self.database.pool(), claim, self.clock.now());
                    if !self.database.with_timeout(BACKGROUND_TIMEOUT, renewed).await? {
                        return Err(Postponed::Changed);
                    }
                }
            }
        }
    }

    /// Asks Magic Hour which files the project has. What it says is recorded like any other poll's answer, so a file that
    /// is not stored yet is queued.
    async fn confirm_files(&self, claim: &Claim) -> Result<(), Postponed> {
        self.take_turn().await?;
        let asked_at = self.clock.now();
        let project = match self.magic_hour.details(claim.kind, &claim.id).await {
            Ok(project) => project,
            Err(error) => return Err(self.failed(error, claim, asked_at).await),
        };
        self.throttle.record_success(asked_at).await;
        if files::are_all(&claim.files, &project) {
            return Ok(());
        }
        let (observation, recorded) = self.recorder.record(Observation::poll(claim.kind, project, asked_at)).await?;
        record::log_recorded(&observation, &recorded);
        Err(Postponed::NotAllStored)
    }

    /// Deletes the project, if the files are still the ones that were verified.
    async fn delete(&self, claim: &Claim) -> Result<(), Postponed> {
        self.take_turn().await?;
        if !self.database.with_timeout(BACKGROUND_TIMEOUT, queue::still_holds(self.database.pool(), claim)).await? {
            return Err(Postponed::Changed);
        }
        let asked_at = self.clock.now();
        match self.magic_hour.delete(claim.kind, &claim.id).await {
            Ok(()) => {
                self.throttle.record_success(asked_at).await;
                Ok(())
            }
            Err(error) => Err(self.failed(error, claim, asked_at).await),
        }
    }

    async fn take_turn(&self) -> Result<(), Postponed> {
        if self.throttle.wait_for_turn().await? { Ok(()) } else { Err(Postponed::Paused) }
    }

    async fn failed(&self, error: UpstreamError, claim: &Claim, asked_at: DateTime<Utc>) -> Postponed {
        let blame = self.throttle.record_failure(&error, &claim.id, asked_at).await;
        Postponed::Upstream { error, blame }
    }
}

/// What became of the deletion if a call failed with `error`; `None` if that is open.
fn outcome_of(error: &UpstreamError) -> Option<DeletionOutcome> {
    match error {
        UpstreamError::NotFound => Some(DeletionOutcome::Deleted),
        UpstreamError::Template | UpstreamError::InvalidId => Some(DeletionOutcome::Refused),
        UpstreamError::Unauthorized
        | UpstreamError::PaymentRequired
        | UpstreamError::RateLimited { .. }
        | UpstreamError::Forbidden
        | UpstreamError::ServerError { .. }
        | UpstreamError::Unreachable
        | UpstreamError::Timeout
        | UpstreamError::Truncated
        | UpstreamError::TooLarge
        | UpstreamError::NotMagicHour(_)
        | UpstreamError::NotTheProject
        | UpstreamError::Rejected(_) => None,
    }
}

fn log_outcome(claim: &Claim, outcome: DeletionOutcome) {
    let (id, kind) = (&claim.id, claim.kind);
    match outcome {
        DeletionOutcome::Deleted => info!(
            event = %LogEvent::DeletionCompleted, render.id = %id, render.kind = %kind,
            "the project is deleted at Magic Hour: all its files are stored and verified"
        ),
        DeletionOutcome::Refused => warn!(
            event = %LogEvent::DeletionRefused, render.id = %id, render.kind = %kind,
            "Magic Hour does not delete the project: it is left alone"
        ),
        DeletionOutcome::Unproven => error!(
            event = %LogEvent::DeletionWithheld, render.id = %id, render.kind = %kind,
            "a stored object is not what was stored: its project is not deleted, and the file can still be downloaded again"
        ),
    }
}

/// Trouble of the account or the API is logged once, when calls pause.
fn log_postponed(claim: &Claim, postponed: &Postponed) {
    let (id, kind) = (&claim.id, claim.kind);
    match postponed {
        Postponed::Paused | Postponed::Upstream { blame: Blame::Everyone { .. }, .. } => debug!(
            event = %LogEvent::DeletionPostponed, render.id = %id, render.kind = %kind, error = %postponed,
            "the project is not deleted yet"
        ),
        Postponed::Unreadable(_)
        | Postponed::NotAllStored
        | Postponed::Changed
        | Postponed::Upstream { blame: Blame::Render, .. }
        | Postponed::Database(_) => warn!(
            event = %LogEvent::DeletionPostponed, render.id = %id, render.kind = %kind, error = %postponed,
            "the project is not deleted yet, and it is tried again with growing gaps"
        ),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn only_magic_hours_own_word_ends_a_deletion() {
        for (error, expected) in [
            (UpstreamError::NotFound, Some(DeletionOutcome::Deleted)),
            (UpstreamError::Template, Some(DeletionOutcome::Refused)),
            (UpstreamError::InvalidId, Some(DeletionOutcome::Refused)),
            (UpstreamError::NotMagicHour(StatusCode::NOT_FOUND), None),
            (UpstreamError::Forbidden, None),
            (UpstreamError::Rejected(StatusCode::CONFLICT), None),
        ] {
            assert_eq!(outcome_of(&error), expected, "{error:?}");
        }
    }
}
