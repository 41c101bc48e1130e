//! Decides what follows from the outcome of a poll. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::Status;
use crate::upstream::reconcile::schedule::{Missing, NextPoll, PollHistory, Schedule};

/// After this many consecutive failed polls, downloads no longer wait for an answer, and are attempted with the URLs that
/// they have.
const GIVE_UP_AFTER: u32 = 16;

/// The outcome of a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum PollOutcome {
    /// The render's status changed.
    StatusChanged,
    /// The render's status did not change.
    Unchanged,
    /// Magic Hour does not know the render.
    NotFound,
    /// Magic Hour rejected the request in its own format.
    Rejected,
    /// There was no usable answer.
    Failed {
        /// The `Retry-After` of the answer.
        retry_after: Option<Duration>,
    },
}

/// The state of a render after its answer is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PolledRender {
    pub(super) status: Option<Status>,
    /// Whether the poll was requested.
    pub(super) requested: bool,
    /// Whether a poll has confirmed which of `error` and `canceled` it is.
    pub(super) failure_confirmed: bool,
    /// Which files it lacks.
    pub(super) lacks: MissingFiles,
    pub(super) attempts: u32,
    pub(super) first_seen_at: DateTime<Utc>,
    pub(super) not_found_at: Option<DateTime<Utc>>,
    pub(super) stalled_at: Option<DateTime<Utc>>,
}

/// Which files a render lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MissingFiles {
    /// Whether no file is known, or one has no URL.
    pub(super) urls: bool,
    /// Whether there are fewer files than announced, and Magic Hour has not said yet that there are no more.
    pub(super) announced: bool,
}

/// The decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PollSettlement {
    pub(super) requested: bool,
    /// When it is polled next; `None` if nothing is missing.
    pub(super) next: Option<NextPoll>,
    pub(super) attempts: u32,
    pub(super) not_found_at: Option<DateTime<Utc>>,
    pub(super) stalled_at: Option<DateTime<Utc>>,
    /// Whether downloads that waited for the answer are due now.
    pub(super) release_files: bool,
    /// Whether nobody waits any more for the files that are missing.
    pub(super) confirms_shortage: bool,
}

impl PolledRender {
    /// Decides what follows from a poll's outcome at `now`. `jitter` is from 0 to 1.
    pub(super) fn settle(
        &self,
        outcome: PollOutcome,
        schedule: &Schedule,
        now: DateTime<Utc>,
        jitter: f64,
    ) -> PollSettlement {
        let settlement = self.settle_outcome(outcome, schedule, now, jitter);
        // A project that Magic Hour does not know lists no more files, and after a week no other answer is likely.
        let is_given_up = outcome == PollOutcome::NotFound || settlement.stalled_at.is_some();
        if self.lacks.announced && is_given_up {
            let without = Self { lacks: MissingFiles { announced: false, ..self.lacks }, ..*self };
            return PollSettlement {
                confirms_shortage: true,
                ..without.settle_outcome(outcome, schedule, now, jitter)
            };
        }
        settlement
    }

    fn settle_outcome(
        &self,
        outcome: PollOutcome,
        schedule: &Schedule,
        now: DateTime<Utc>,
        jitter: f64,
    ) -> PollSettlement {
        match outcome {
            PollOutcome::StatusChanged => self.answered(0, None, schedule, now, jitter),
            PollOutcome::Unchanged => self.answered(self.attempts.saturating_add(1), None, schedule, now, jitter),
            PollOutcome::NotFound => {
                let not_found_at = self.not_found_at.unwrap_or(now);
                self.answered(self.attempts.saturating_add(1), Some(not_found_at), schedule, now, jitter)
            }
            PollOutcome::Rejected => {
                self.answered(self.attempts.saturating_add(1), self.not_found_at, schedule, now, jitter)
            }
            PollOutcome::Failed { retry_after } => self.failed(retry_after, schedule, now, jitter),
        }
    }

    fn answered(
        &self,
        attempts: u32,
        not_found_at: Option<DateTime<Utc>>,
        schedule: &Schedule,
        now: DateTime<Utc>,
        jitter: f64,
    ) -> PollSettlement {
        let (first_seen_at, stalled_at) = (self.first_seen_at, self.stalled_at);
        let history = PollHistory { first_seen_at, stalled_at, attempts, found: not_found_at.is_none() };
        let missing = self.missing().filter(|missing| match missing {
            Missing::Ending | Missing::Urls => true,
            Missing::Confirmation => history.found,
        });
        let is_stalled = match missing {
            Some(Missing::Ending | Missing::Urls) => Schedule::is_stalled(&history, now),
            Some(Missing::Confirmation) | None => false,
        };
        PollSettlement {
            requested: matches!(missing, Some(Missing::Urls | Missing::Confirmation)),
            next: missing.map(|missing| schedule.next(missing, &history, now, jitter)),
            attempts,
            not_found_at,
            stalled_at: is_stalled.then(|| stalled_at.unwrap_or(now)),
            release_files: self.requested,
            confirms_shortage: false,
        }
    }

    /// A failed poll is retried soon. Downloads keep waiting for its answer, but not forever.
    fn failed(
        &self,
        retry_after: Option<Duration>,
        schedule: &Schedule,
        now: DateTime<Utc>,
        jitter: f64,
    ) -> PollSettlement {
        let attempts = self.attempts.saturating_add(1);
        let retry = NextPoll::At(Schedule::after_failure(attempts, retry_after, now, jitter));
        let unanswered = self.answered(attempts, self.not_found_at, schedule, now, jitter);
        if self.requested && attempts < GIVE_UP_AFTER {
            return PollSettlement { requested: true, next: Some(retry), release_files: false, ..unanswered };
        }
        match unanswered.stalled_at {
            Some(_) => unanswered,
            None => PollSettlement { next: unanswered.next.map(|_| retry), ..unanswered },
        }
    }

    fn missing(&self) -> Option<Missing> {
        match self.status {
            None | Some(Status::Draft | Status::Queued | Status::Rendering) => Some(Missing::Ending),
            Some(Status::Error | Status::Canceled) => {
                (self.requested && !self.failure_confirmed).then_some(Missing::Confirmation)
            }
            Some(Status::Complete) => (self.lacks.urls || self.lacks.announced).then_some(Missing::Urls),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const SCHEDULE: Schedule =
        Schedule { initial_delay: Duration::from_mins(5), max_interval: Duration::from_hours(1) };
    const FAILED: PollOutcome = PollOutcome::Failed { retry_after: None };

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn render(status: Option<Status>) -> PolledRender {
        PolledRender {
            status,
            requested: false,
            failure_confirmed: false,
            lacks: MissingFiles::default(),
            attempts: 1,
            first_seen_at: now(),
            not_found_at: None,
            stalled_at: None,
        }
    }

    fn settle(render: PolledRender, outcome: PollOutcome) -> PollSettlement {
        render.settle(outcome, &SCHEDULE, now(), 0.0)
    }

    /// The number of seconds until the next poll.
    fn delay(settlement: &PollSettlement) -> Option<i64> {
        settlement.next.map(|next| match next {
            NextPoll::At(at) => (at - now()).num_seconds(),
            NextPoll::Never => panic!("never"),
        })
    }

    #[test]
    fn a_render_is_polled_as_long_as_something_is_missing() {
        let requested = |render: PolledRender| PolledRender { requested: true, ..render };
        let complete = render(Some(Status::Complete));
        let lacking = PolledRender { lacks: MissingFiles { urls: true, announced: false }, ..complete };
        let failed = render(Some(Status::Error));
        let confirmed = PolledRender { failure_confirmed: true, ..failed };
        #[rustfmt::skip]
        let table = [
            // The render and the outcome; the delay, whether a poll is requested, and whether downloads are due.
            (render(None), PollOutcome::Unchanged, Some(1200), false, false),
            (requested(render(Some(Status::Queued))), PollOutcome::StatusChanged, Some(300), false, true),
            (render(Some(Status::Rendering)), PollOutcome::NotFound, Some(1200), false, false),
            (failed, PollOutcome::StatusChanged, None, false, false),
            (requested(failed), PollOutcome::Unchanged, Some(1200), true, true),
            (requested(failed), PollOutcome::NotFound, None, false, true),
            (requested(confirmed), PollOutcome::StatusChanged, None, false, true),
            (requested(render(Some(Status::Canceled))), PollOutcome::Unchanged, Some(1200), true, true),
            (requested(complete), PollOutcome::Unchanged, None, false, true),
            (requested(lacking), PollOutcome::Unchanged, Some(40), true, true),
            (lacking, PollOutcome::StatusChanged, Some(10), true, false),
            (requested(lacking), PollOutcome::NotFound, Some(40), true, true),
            (requested(complete), PollOutcome::Rejected, None, false, true),
            (render(Some(Status::Queued)), PollOutcome::Rejected, Some(1200), false, false),
        ];
        for (render, outcome, expected_delay, requested, release_files) in table {
            let settlement = settle(render, outcome);
            let actual = (delay(&settlement), settlement.requested, settlement.release_files);
            assert_eq!(actual, (expected_delay, requested, release_files), "{render:?} {outcome:?}");
        }
    }

    #[test]
    fn a_failed_poll_is_retried_soon_and_downloads_wait_for_it_up_to_a_limit() {
        let rendering = render(Some(Status::Rendering));
        let expired_url = PolledRender { requested: true, ..render(Some(Status::Complete)) };
        for (render, requested) in [(rendering, false), (expired_url, true)] {
            let settlement = settle(render, FAILED);
            let actual = (delay(&settlement), settlement.attempts, settlement.requested, settlement.release_files);
            assert_eq!(actual, (Some(20), 2, requested, false), "{render:?}");
        }
        let last = settle(PolledRender { attempts: GIVE_UP_AFTER - 1, ..expired_url }, FAILED);
        assert_eq!((last.next, last.requested, last.release_files), (None, false, true));
        let finished = settle(render(Some(Status::Complete)), FAILED);
        assert_eq!((finished.next, finished.requested), (None, false));
        let postponed = settle(rendering, PollOutcome::Failed { retry_after: Some(Duration::from_mins(10)) });
        assert_eq!(delay(&postponed), Some(600));
    }

    #[test]
    fn only_an_answer_changes_whether_magic_hour_knows_a_render() {
        let hour_ago = now() - TimeDelta::hours(1);
        let known = render(None);
        let unknown = PolledRender { not_found_at: Some(hour_ago), ..known };
        for (render, outcome, expected) in [
            (known, PollOutcome::NotFound, Some(now())),
            (unknown, PollOutcome::NotFound, Some(hour_ago)),
            (unknown, PollOutcome::Unchanged, None),
            (unknown, FAILED, Some(hour_ago)),
            (unknown, PollOutcome::Rejected, Some(hour_ago)),
            (known, FAILED, None),
        ] {
            assert_eq!(settle(render, outcome).not_found_at, expected, "{render:?} {outcome:?}");
        }
    }

    #[test]
    fn a_render_that_is_missing_something_for_a_week_is_stalled() {
        let old = PolledRender { first_seen_at: now() - TimeDelta::days(8), ..render(Some(Status::Rendering)) };
        let day = Some(86_400);
        for outcome in [PollOutcome::Unchanged, FAILED] {
            let settlement = settle(old, outcome);
            assert_eq!((settlement.stalled_at, delay(&settlement)), (Some(now()), day), "{outcome:?}");
        }
        let recovered = PolledRender { status: Some(Status::Canceled), stalled_at: Some(now()), ..old };
        assert_eq!(settle(recovered, PollOutcome::StatusChanged).stalled_at, None);
        let abandoned = PolledRender { stalled_at: Some(now() - TimeDelta::days(31)), ..old };
        assert_eq!(settle(abandoned, PollOutcome::Unchanged).next, Some(NextPoll::Never));
    }

    #[test]
    fn a_shortage_of_files_is_confirmed_once_magic_hour_does_not_know_the_render_or_nobody_answers_for_a_week() {
        let lacking = |urls, announced| PolledRender {
            lacks: MissingFiles { urls, announced },
            requested: true,
            ..render(Some(Status::Complete))
        };
        let short = lacking(false, true);
        let old = PolledRender { first_seen_at: now() - TimeDelta::days(8), ..short };
        for (render, outcome, confirms, delay_s) in [
            (short, PollOutcome::Unchanged, false, Some(40)),
            (short, PollOutcome::Rejected, false, Some(40)),
            (short, FAILED, false, Some(20)),
            (short, PollOutcome::NotFound, true, None),
            (old, PollOutcome::Rejected, true, None),
            (old, FAILED, true, Some(20)),
            // The other files are still waited for.
            (lacking(true, true), PollOutcome::NotFound, true, Some(40)),
        ] {
            let settlement = settle(render, outcome);
            let actual = (settlement.confirms_shortage, delay(&settlement));
            assert_eq!(actual, (confirms, delay_s), "{render:?} {outcome:?}");
        }
        assert!(!settle(lacking(true, false), PollOutcome::NotFound).confirms_shortage);
    }
}
