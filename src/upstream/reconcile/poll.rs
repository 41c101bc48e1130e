//! One poll: the call, the recording of the answer, and what follows for the next poll.

use chrono::{DateTime, Utc};
use tracing::{debug, info, warn};

use super::Reconciler;
use super::due::{self, Claim};
use super::settlement::Outcome;
use crate::intake::record::{self, Observation};
use crate::runtime::{BACKGROUND_TIMEOUT, LogEvent};
use crate::upstream::error::{Scope, UpstreamError};
use crate::upstream::throttle::Blame;

impl Reconciler {
    /// Polls a claimed render. If the outcome cannot be recorded, the poll is repeated when the claim runs out.
    pub(super) async fn poll(&self, claim: &Claim, asked_at: DateTime<Utc>) {
        debug!(event = %LogEvent::PollSent, render.id = %claim.id, render.kind = %claim.kind, "polling a render");
        let outcome = match self.magic_hour.details(claim.kind, &claim.id).await {
            Ok(payload) => {
                self.throttle.record_success(asked_at).await;
                let observation = Observation::poll(claim.kind, payload, asked_at);
                let Some(outcome) = self.record(claim, observation).await else { return };
                outcome
            }
            Err(error @ UpstreamError::NotFound) => {
                self.throttle.record_success(asked_at).await;
                log_not_found(claim, &error);
                Outcome::NotFound
            }
            // There is no such project, and nothing was called.
            Err(error @ UpstreamError::InvalidId) => {
                log_not_found(claim, &error);
                Outcome::NotFound
            }
            Err(error) => {
                let blame = self.throttle.record_failure(&error, &claim.id, asked_at).await;
                log_failure(claim, &error, blame);
                match error.scope() {
                    Scope::Render => Outcome::Rejected,
                    Scope::Account | Scope::Unclear => Outcome::Failed { retry_after: error.retry_after() },
                }
            }
        };
        let (pool, now) = (self.database.pool(), self.clock.now());
        let settled = due::settle(pool, claim, outcome, &self.schedule, rand::random(), now);
        // OK to ignore: the database logs its own trouble.
        let _ = self.database.with_timeout(BACKGROUND_TIMEOUT, settled).await;
    }

    /// Records an answer; `None` if the database did not take it.
    async fn record(&self, claim: &Claim, observation: Observation) -> Option<Outcome> {
        let (observation, recorded) = self.recorder.record(observation).await.ok()?;
        if recorded.news {
            info!(
                event = %LogEvent::PollAnswered, render.id = %claim.id, render.kind = %claim.kind,
                downloads.queued = recorded.queued, "a poll brought news of a render"
            );
        } else {
            debug!(
                event = %LogEvent::PollAnswered, render.id = %claim.id, render.kind = %claim.kind,
                "a poll brought no news of a render"
            );
        }
        record::log_recorded(&observation, &recorded);
        if claim.wanted && recorded.queued > 0 {
            info!(
                event = %LogEvent::DownloadUrlRenewed, render.id = %claim.id, downloads.queued = recorded.queued,
                "a poll brought fresh URLs"
            );
        }
        Some(if recorded.moved.is_some() { Outcome::Moved } else { Outcome::Unmoved })
    }
}

fn log_not_found(claim: &Claim, error: &UpstreamError) {
    if claim.was_not_found {
        debug!(event = %LogEvent::PollNotFound, render.id = %claim.id, render.kind = %claim.kind, "{error}");
    } else {
        warn!(
            event = %LogEvent::PollNotFound, render.id = %claim.id, render.kind = %claim.kind,
            "{error}; it is polled less and less often"
        );
    }
}

/// Trouble of the account or the API is logged once, when calls pause.
fn log_failure(claim: &Claim, error: &UpstreamError, blame: Blame) {
    let code = error.code();
    match blame {
        Blame::Render => warn!(
            event = %LogEvent::PollFailed, render.id = %claim.id, render.kind = %claim.kind, error = %code,
            "{error}: this render is polled again with growing gaps"
        ),
        Blame::Everyone { .. } => debug!(
            event = %LogEvent::PollFailed, render.id = %claim.id, render.kind = %claim.kind, error = %code, "{error}"
        ),
    }
}
