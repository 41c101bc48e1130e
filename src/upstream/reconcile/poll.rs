//! One poll: the call, recording the answer, and scheduling the next poll.

use tracing::{debug, info, warn};

use super::Reconciler;
use super::queue::PollClaim;
use super::settlement::PollOutcome;
use crate::intake::{self, Observation};
use crate::runtime::{BACKGROUND_TIMEOUT, LogEvent};
use crate::upstream::accounts::{self, NoProject, UnansweredCall};
use crate::upstream::error::{FailureScope, UpstreamError};
use crate::upstream::metrics::POLLS;
use crate::upstream::throttle::FailureEffect;

impl Reconciler {
    /// Polls a claimed render. If the outcome cannot be recorded, the poll is repeated once the claim expires.
    pub(super) async fn poll(&self, claim: &PollClaim) {
        debug!(event = %LogEvent::PollSent, render.id = %claim.id, render.kind = %claim.kind, "polling a render");
        let outcome = match self.finder.find(claim.kind, &claim.id, claim.account.as_ref(), true).await {
            Ok(found) => {
                let observation = Observation::poll(claim.kind, found.payload, found.called_at);
                let Some(outcome) = self.record(claim, observation).await else { return };
                if claim.account.as_ref() != Some(&found.account) {
                    let saved = accounts::save_owner(self.database.pool(), &claim.id, &found.account);
                    // OK to ignore: database errors are already logged, and the next poll finds it again.
                    let _ = self.database.with_timeout(BACKGROUND_TIMEOUT, saved).await;
                }
                outcome
            }
            Err(NoProject::Deleted | NoProject::Unknown) => {
                log_not_found(claim, &UpstreamError::NotFound);
                PollOutcome::NotFound
            }
            Err(NoProject::InvalidId) => {
                log_not_found(claim, &UpstreamError::InvalidId);
                PollOutcome::NotFound
            }
            Err(NoProject::Unanswered(UnansweredCall::Paused)) => PollOutcome::Failed { retry_after: None },
            Err(NoProject::Unanswered(UnansweredCall::Failed { error, effect })) => {
                log_failure(claim, &error, effect);
                match error.scope() {
                    FailureScope::Render => PollOutcome::Rejected,
                    FailureScope::Account | FailureScope::Unclear => {
                        PollOutcome::Failed { retry_after: error.retry_after() }
                    }
                }
            }
            // The claim expires.
            Err(NoProject::Database(_)) => return,
        };
        POLLS.add((outcome,), 1);
        // OK to ignore errors: those of the database are already logged.
        if let Ok(missing @ 1..) = self.database.with_timeout(BACKGROUND_TIMEOUT, self.settle(claim, outcome)).await {
            warn!(
                event = %LogEvent::RenderShort, render.id = %claim.id, render.kind = %claim.kind, files.missing = missing,
                "a complete render has fewer files than its image_count announces, and Magic Hour does not say where they are"
            );
        }
    }

    /// Records an answer; `None` if the database failed.
    async fn record(&self, claim: &PollClaim, observation: Observation) -> Option<PollOutcome> {
        let (observation, recorded) = self.recorder.record(observation).await.ok()?;
        if recorded.changed {
            info!(
                event = %LogEvent::PollAnswered, render.id = %claim.id, render.kind = %claim.kind,
                downloads.queued = recorded.queued, "a poll changed a render"
            );
        } else {
            debug!(
                event = %LogEvent::PollAnswered, render.id = %claim.id, render.kind = %claim.kind,
                "a poll changed nothing"
            );
        }
        intake::log_recorded(&observation, &recorded);
        if claim.requested && recorded.queued > 0 {
            info!(
                event = %LogEvent::DownloadUrlRenewed, render.id = %claim.id, downloads.queued = recorded.queued,
                "a poll returned fresh URLs"
            );
        }
        Some(if recorded.transition.is_some() { PollOutcome::StatusChanged } else { PollOutcome::Unchanged })
    }
}

fn log_not_found(claim: &PollClaim, error: &UpstreamError) {
    if claim.was_not_found {
        debug!(event = %LogEvent::PollNotFound, render.id = %claim.id, render.kind = %claim.kind, "{error}");
    } else {
        warn!(
            event = %LogEvent::PollNotFound, render.id = %claim.id, render.kind = %claim.kind,
            "{error}; it is polled less and less often"
        );
    }
}

/// Failures that pause all calls are only logged at `debug`, because the pause itself is logged.
fn log_failure(claim: &PollClaim, error: &UpstreamError, effect: FailureEffect) {
    let code = error.code();
    match effect {
        FailureEffect::Render => warn!(
            event = %LogEvent::PollFailed, render.id = %claim.id, render.kind = %claim.kind, error = %code,
            "{error}: retrying this render with backoff"
        ),
        FailureEffect::AllCalls { .. } => debug!(
            event = %LogEvent::PollFailed, render.id = %claim.id, render.kind = %claim.kind, error = %code, "{error}"
        ),
    }
}
