//! What a poll's outcome means for the next poll of the render: the decision, as pure code.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::schedule::{Awaiting, History, Next, Schedule};
use crate::domain::Status;

/// After so many failed polls in a row nothing waits for the answer any longer: the files that did are tried with the URLs
/// that they have.
const GIVE_UP_AFTER: u32 = 16;

/// What a poll came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Magic Hour answered, and the render's status changed.
    Moved,
    /// Magic Hour answered, and it did not.
    Unmoved,
    /// Magic Hour does not know the render.
    NotFound,
    /// Magic Hour answered, in its own words, that it does not say more about this render.
    Rejected,
    /// There was no usable answer.
    Failed {
        /// How long Magic Hour asked to be left alone.
        retry_after: Option<Duration>,
    },
}

/// A render's row once the answer is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PolledRender {
    pub(super) status: Option<Status>,
    /// Whether something waits for the answer.
    pub(super) wanted: bool,
    /// Whether Magic Hour has confirmed which of `error` and `canceled` it is.
    pub(super) failure_confirmed: bool,
    /// Whether no file is known, or one without a URL.
    pub(super) lacks_urls: bool,
    pub(super) attempts: u32,
    pub(super) first_seen_at: DateTime<Utc>,
    pub(super) not_found_at: Option<DateTime<Utc>>,
    pub(super) stalled_at: Option<DateTime<Utc>>,
}

/// What the row is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settlement {
    pub(super) wanted: bool,
    /// When it is polled next; `None` if nothing is left to ask.
    pub(super) next: Option<Next>,
    pub(super) attempts: u32,
    pub(super) not_found_at: Option<DateTime<Utc>>,
    pub(super) stalled_at: Option<DateTime<Utc>>,
    /// Whether files that waited for the answer are tried now, each with the URL that it has.
    pub(super) releases_files: bool,
}

impl PolledRender {
    /// Decides what follows from a poll's outcome at `now`. `chance` is from 0 to 1.
    pub(super) fn settle(&self, outcome: Outcome, schedule: &Schedule, now: DateTime<Utc>, chance: f64) -> Settlement {
        match outcome {
            Outcome::Moved => self.answered(0, None, schedule, now, chance),
            Outcome::Unmoved => self.answered(self.attempts.saturating_add(1), None, schedule, now, chance),
            Outcome::NotFound => {
                let not_found_at = self.not_found_at.unwrap_or(now);
                self.answered(self.attempts.saturating_add(1), Some(not_found_at), schedule, now, chance)
            }
            Outcome::Rejected => {
                self.answered(self.attempts.saturating_add(1), self.not_found_at, schedule, now, chance)
            }
            Outcome::Failed { retry_after } => self.failed(retry_after, schedule, now, chance),
        }
    }

    fn answered(
        &self,
        attempts: u32,
        not_found_at: Option<DateTime<Utc>>,
        schedule: &Schedule,
        now: DateTime<Utc>,
        chance: f64,
    ) -> Settlement {
        let (first_seen_at, stalled_at) = (self.first_seen_at, self.stalled_at);
        let history = History { first_seen_at, stalled_at, attempts, found: not_found_at.is_none() };
        let awaiting = self.awaiting().filter(|awaiting| match awaiting {
            Awaiting::End | Awaiting::Urls => true,
            Awaiting::Confirmation => history.found,
        });
        let is_stalled = match awaiting {
            Some(Awaiting::End | Awaiting::Urls) => Schedule::is_stalled(&history, now),
            Some(Awaiting::Confirmation) | None => false,
        };
        Settlement {
            wanted: matches!(awaiting, Some(Awaiting::Urls | Awaiting::Confirmation)),
            next: awaiting.map(|awaiting| schedule.next(awaiting, &history, now, chance)),
            attempts,
            not_found_at,
            stalled_at: is_stalled.then(|| stalled_at.unwrap_or(now)),
            releases_files: self.wanted,
        }
    }

    /// A failed poll is repeated soon. What waits for the answer goes on waiting, but not forever.
    fn failed(
        &self,
        retry_after: Option<Duration>,
        schedule: &Schedule,
        now: DateTime<Utc>,
        chance: f64,
    ) -> Settlement {
        let attempts = self.attempts.saturating_add(1);
        let soon = Next::At(Schedule::after_failure(attempts, retry_after, now, chance));
        let unanswered = self.answered(attempts, self.not_found_at, schedule, now, chance);
        if self.wanted && attempts < GIVE_UP_AFTER {
            return Settlement { wanted: true, next: Some(soon), releases_files: false, ..unanswered };
        }
        match unanswered.stalled_at {
            Some(_) => unanswered,
            None => Settlement { next: unanswered.next.map(|_| soon), ..unanswered },
        }
    }

    fn awaiting(&self) -> Option<Awaiting> {
        match self.status {
            None | Some(Status::Draft | Status::Queued | Status::Rendering) => Some(Awaiting::End),
            Some(Status::Error | Status::Canceled) => {
                (self.wanted && !self.failure_confirmed).then_some(Awaiting::Confirmation)
            }
            Some(Status::Complete) => self.lacks_urls.then_some(Awaiting::Urls),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const SCHEDULE: Schedule = Schedule { after: Duration::from_mins(5), longest: Duration::from_hours(1) };
    const FAILED: Outcome = Outcome::Failed { retry_after: None };

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn render(status: Option<Status>) -> PolledRender {
        PolledRender {
            status,
            wanted: false,
            failure_confirmed: false,
            lacks_urls: false,
            attempts: 1,
            first_seen_at: now(),
            not_found_at: None,
            stalled_at: None,
        }
    }

    fn settle(render: PolledRender, outcome: Outcome) -> Settlement {
        render.settle(outcome, &SCHEDULE, now(), 0.0)
    }

    /// In how many seconds a render is polled next.
    fn gap(settlement: &Settlement) -> Option<i64> {
        settlement.next.map(|next| match next {
            Next::At(at) => (at - now()).num_seconds(),
            Next::Never => panic!("never"),
        })
    }

    #[test]
    fn an_answer_leaves_a_render_watched_as_long_as_it_lacks_something() {
        let wanted = |render: PolledRender| PolledRender { wanted: true, ..render };
        let complete = render(Some(Status::Complete));
        let lacking = PolledRender { lacks_urls: true, ..complete };
        let failed = render(Some(Status::Error));
        let confirmed = PolledRender { failure_confirmed: true, ..failed };
        #[rustfmt::skip]
        let table = [
            // The render, the outcome; the gap, whether something waits on, whether files are released.
            (render(None), Outcome::Unmoved, Some(1200), false, false),
            (wanted(render(Some(Status::Queued))), Outcome::Moved, Some(300), false, true),
            (render(Some(Status::Rendering)), Outcome::NotFound, Some(1200), false, false),
            (failed, Outcome::Moved, None, false, false),
            (wanted(failed), Outcome::Unmoved, Some(1200), true, true),
            (wanted(failed), Outcome::NotFound, None, false, true),
            (wanted(confirmed), Outcome::Moved, None, false, true),
            (wanted(render(Some(Status::Canceled))), Outcome::Unmoved, Some(1200), true, true),
            (wanted(complete), Outcome::Unmoved, None, false, true),
            (wanted(lacking), Outcome::Unmoved, Some(40), true, true),
            (lacking, Outcome::Moved, Some(10), true, false),
            (wanted(lacking), Outcome::NotFound, Some(40), true, true),
            (wanted(complete), Outcome::Rejected, None, false, true),
            (render(Some(Status::Queued)), Outcome::Rejected, Some(1200), false, false),
        ];
        for (render, outcome, expected_gap, wanted, releases_files) in table {
            let settlement = settle(render, outcome);
            let facts = (gap(&settlement), settlement.wanted, settlement.releases_files);
            assert_eq!(facts, (expected_gap, wanted, releases_files), "{render:?} {outcome:?}");
        }
    }

    #[test]
    fn a_failed_poll_is_repeated_soon_and_what_waits_for_it_goes_on_waiting_up_to_a_limit() {
        let rendering = render(Some(Status::Rendering));
        let dead_url = PolledRender { wanted: true, ..render(Some(Status::Complete)) };
        for (render, wanted) in [(rendering, false), (dead_url, true)] {
            let settlement = settle(render, FAILED);
            let facts = (gap(&settlement), settlement.attempts, settlement.wanted, settlement.releases_files);
            assert_eq!(facts, (Some(20), 2, wanted, false), "{render:?}");
        }
        let last = settle(PolledRender { attempts: GIVE_UP_AFTER - 1, ..dead_url }, FAILED);
        assert_eq!((last.next, last.wanted, last.releases_files), (None, false, true));
        let finished = settle(render(Some(Status::Complete)), FAILED);
        assert_eq!((finished.next, finished.wanted), (None, false));
        let patient = settle(rendering, Outcome::Failed { retry_after: Some(Duration::from_mins(10)) });
        assert_eq!(gap(&patient), Some(600));
    }

    #[test]
    fn only_an_answer_changes_whether_magic_hour_knows_a_render() {
        let hour_ago = now() - TimeDelta::hours(1);
        let known = render(None);
        let unknown = PolledRender { not_found_at: Some(hour_ago), ..known };
        for (render, outcome, expected) in [
            (known, Outcome::NotFound, Some(now())),
            (unknown, Outcome::NotFound, Some(hour_ago)),
            (unknown, Outcome::Unmoved, None),
            (unknown, FAILED, Some(hour_ago)),
            (unknown, Outcome::Rejected, Some(hour_ago)),
            (known, FAILED, None),
        ] {
            assert_eq!(settle(render, outcome).not_found_at, expected, "{render:?} {outcome:?}");
        }
    }

    #[test]
    fn a_render_is_marked_as_stalled_while_it_lacks_something_after_a_week() {
        let old = PolledRender { first_seen_at: now() - TimeDelta::days(8), ..render(Some(Status::Rendering)) };
        let day = Some(86_400);
        for outcome in [Outcome::Unmoved, FAILED] {
            let settlement = settle(old, outcome);
            assert_eq!((settlement.stalled_at, gap(&settlement)), (Some(now()), day), "{outcome:?}");
        }
        let cured = PolledRender { status: Some(Status::Canceled), stalled_at: Some(now()), ..old };
        assert_eq!(settle(cured, Outcome::Moved).stalled_at, None);
        let abandoned = PolledRender { stalled_at: Some(now() - TimeDelta::days(31)), ..old };
        assert_eq!(settle(abandoned, Outcome::Unmoved).next, Some(Next::Never));
    }
}
