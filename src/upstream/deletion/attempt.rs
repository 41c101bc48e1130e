//! One attempt to delete a project: the four checks, the call, and the log.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::Deleter;
use super::files;
use super::queue::{self, DeletionClaim, DeletionOutcome};
use crate::archive::StoreError;
use crate::intake::{self, Observation, RecordError};
use crate::runtime::{BACKGROUND_TIMEOUT, DatabaseError, LogEvent};
use crate::upstream::accounts::{self, Account, NoProject, UnansweredCall};
use crate::upstream::error::UpstreamError;
use crate::upstream::throttle::FailureEffect;

/// Why a project is not deleted yet.
#[derive(Debug, thiserror::Error)]
enum Postponed {
    #[error("a stored file cannot be read back: {0}")]
    Unreadable(#[from] StoreError),
    #[error("Magic Hour lists a file that is not stored, or does not report the render as complete")]
    NotAllStored,
    #[error("the files have changed since they were verified, or another process took over")]
    Changed,
    #[error("calls to Magic Hour are paused")]
    Paused,
    #[error(
        "no account of MAGIC_HOUR_API_KEY knows the project, so none can say that it is gone: add the key of its account"
    )]
    NoOwner,
    #[error("{error}")]
    Upstream { error: UpstreamError, effect: FailureEffect },
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Postponed {
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Upstream { error, .. } => error.retry_after(),
            Self::Unreadable(_)
            | Self::NotAllStored
            | Self::Changed
            | Self::Paused
            | Self::NoOwner
            | Self::Database(_)
            | Self::Record(_) => None,
        }
    }
}

impl Deleter {
    /// Deletes the project if all checks pass, and records the outcome. Returns an error if the database fails; then the
    /// claim expires, and another attempt follows.
    pub(super) async fn process(&self, mut claim: DeletionClaim) -> Result<(), DatabaseError> {
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

    async fn attempt(&self, claim: &mut DeletionClaim) -> Result<DeletionOutcome, Postponed> {
        if !self.match_store(claim).await? {
            return Ok(DeletionOutcome::Unproven);
        }
        let deleted = match self.confirm_files(claim).await {
            Ok(Some(owner)) => self.delete(claim, &owner).await,
            Ok(None) => Ok(()),
            Err(postponed) => Err(postponed),
        };
        match deleted {
            Ok(()) => Ok(DeletionOutcome::Deleted),
            Err(Postponed::Upstream { error, effect }) => match outcome_of(&error) {
                Some(outcome) => Ok(outcome),
                None => Err(Postponed::Upstream { error, effect }),
            },
            Err(postponed) => Err(postponed),
        }
    }

    /// Reads every object back. That may take long, so the claim is renewed meanwhile.
    async fn match_store(&self, claim: &mut DeletionClaim) -> Result<bool, Postponed> {
        let files = claim.files.clone();
        let intact = files::match_store(&self.store, &files);
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

    /// Gets the project's files from Magic Hour, and returns the account that owns it, or `None` if that account has deleted
    /// it. The answer is recorded like that of a poll, so a file that is not stored yet is queued.
    async fn confirm_files(&self, claim: &DeletionClaim) -> Result<Option<Account>, Postponed> {
        let found = match self.finder.find(claim.kind, &claim.id, claim.account.as_ref(), false).await {
            Ok(found) => found,
            Err(NoProject::Deleted) => return Ok(None),
            Err(NoProject::Unknown) => return Err(Postponed::NoOwner),
            // Refused, as any call about it would be.
            Err(NoProject::InvalidId) => {
                let (error, effect) = (UpstreamError::InvalidId, FailureEffect::Render);
                return Err(Postponed::Upstream { error, effect });
            }
            Err(NoProject::Unanswered(UnansweredCall::Paused)) => return Err(Postponed::Paused),
            Err(NoProject::Unanswered(UnansweredCall::Failed { error, effect })) => {
                return Err(Postponed::Upstream { error, effect });
            }
            Err(NoProject::Database(error)) => return Err(error.into()),
        };
        if claim.account.as_ref() != Some(&found.account) {
            let saved = accounts::save_owner(self.database.pool(), &claim.id, &found.account);
            self.database.with_timeout(BACKGROUND_TIMEOUT, saved).await?;
        }
        if files::include_all(&claim.files, &found.payload) {
            let owner = self.finder.accounts.get(&found.account);
            return owner.cloned().map(Some).ok_or(Postponed::NoOwner);
        }
        let observation = Observation::poll(claim.kind, found.payload, found.called_at);
        let (observation, recorded) = self.recorder.record(observation).await?;
        intake::log_recorded(&observation, &recorded);
        Err(Postponed::NotAllStored)
    }

    /// Deletes the project if the files are still the ones that were verified.
    async fn delete(&self, claim: &DeletionClaim, owner: &Account) -> Result<(), Postponed> {
        let throttle = &self.finder.throttle;
        if !throttle.wait_for_turn(owner).await? {
            return Err(Postponed::Paused);
        }
        if !self.database.with_timeout(BACKGROUND_TIMEOUT, queue::is_still_valid(self.database.pool(), claim)).await? {
            return Err(Postponed::Changed);
        }
        let called_at = self.clock.now();
        match owner.client.delete(claim.kind, &claim.id).await {
            Ok(()) => {
                throttle.record_success(owner, called_at).await;
                Ok(())
            }
            Err(error) => {
                let effect = throttle.record_failure(owner, &error, &claim.id, called_at).await;
                Err(Postponed::Upstream { error, effect })
            }
        }
    }
}

/// The outcome of a deletion after the owner's `error`; `None` if it should be retried.
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

fn log_outcome(claim: &DeletionClaim, outcome: DeletionOutcome) {
    let (id, kind) = (&claim.id, claim.kind);
    match outcome {
        DeletionOutcome::Deleted => info!(
            event = %LogEvent::DeletionCompleted, render.id = %id, render.kind = %kind,
            "deleted the project at Magic Hour: all its files are stored and verified"
        ),
        DeletionOutcome::Refused => warn!(
            event = %LogEvent::DeletionRefused, render.id = %id, render.kind = %kind,
            "Magic Hour refuses to delete the project"
        ),
        DeletionOutcome::Unproven => error!(
            event = %LogEvent::DeletionWithheld, render.id = %id, render.kind = %kind,
            "a stored object does not match its record, so its project is not deleted: the file can still be downloaded again"
        ),
    }
}

/// Failures that pause all calls are only logged at `debug`, because the pause itself is logged.
fn log_postponed(claim: &DeletionClaim, postponed: &Postponed) {
    let (id, kind) = (&claim.id, claim.kind);
    match postponed {
        Postponed::Paused | Postponed::Upstream { effect: FailureEffect::AllCalls { .. }, .. } => debug!(
            event = %LogEvent::DeletionPostponed, render.id = %id, render.kind = %kind, error = %postponed,
            "the project is not deleted yet"
        ),
        Postponed::Unreadable(_)
        | Postponed::NotAllStored
        | Postponed::Changed
        | Postponed::NoOwner
        | Postponed::Upstream { effect: FailureEffect::Render, .. }
        | Postponed::Database(_)
        | Postponed::Record(_) => warn!(
            event = %LogEvent::DeletionPostponed, render.id = %id, render.kind = %kind, error = %postponed,
            "the project is not deleted yet: retrying with backoff"
        ),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn only_magic_hours_own_answers_end_a_deletion() {
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
