//! One poll: the call, recording the answer, and scheduling the next poll.

use chrono::{DateTime, Utc};
use tracing::{debug, info, warn};

use super::Reconciler;
use super::queue::{self, PollClaim};
use super::settlement::PollOutcome;
use crate::intake::{self, Observation};
use crate::runtime::{BACKGROUND_TIMEOUT, LogEvent};
use crate::upstream::error::{FailureScope, UpstreamError};
use crate::upstream::metrics::POLLS;
use crate::upstream::throttle::FailureEffect;

impl Reconciler {
    /// Polls a claimed render. If the outcome cannot be recorded, the poll is repeated once the claim expires.
    pub(super) async fn poll(&self, claim: &PollClaim, called_at: DateTime<Utc>) {
        debug!(event = %LogEvent::PollSent, render.id = %claim.id, render.kind = %claim.kind, "polling a render");
        let outcome = match self.magic_hour.details(claim.kind, &claim.id).await {
            Ok(payload) => {
                self.throttle.record_success(called_at).await;
                let observation = Observation::poll(claim.kind, payload, called_at);
                let Some(outcome) = self.record(claim, observation).await else { return };
                outcome
            }
            Err(error @ UpstreamError::NotFound) => {
                self.throttle.record_success(called_at).await;
                log_not_found(claim, &error);
                PollOutcome::NotFound
            }
            // No project can have this id, and no call was made.
            Err(error @ UpstreamError::InvalidId) => {
                log_not_found(claim, &error);
                PollOutcome::NotFound
            }
            Err(error) => {
                let effect = self.throttle.record_failure(&error, &claim.id, called_at).await;
                log_failure(claim, &error, effect);
                match error.scope() {
                    FailureScope::Render => PollOutcome::Rejected,
                    FailureScope::Account | FailureScope::Unclear => {
                        PollOutcome::Failed { retry_after: error.retry_after() }
                    }
                }
            }
        };
        POLLS.add((outcome,), 1);
        let (pool, now) = (self.database.pool(), self.clock.now());
        let settled = queue::settle(pool, claim, outcome, &self.schedule, rand::random(), now);
        // OK to ignore: database errors are already logged.
        let _ = self.database.with_timeout(BACKGROUND_TIMEOUT, settled).await;
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
