//! When calls to Magic Hour pause: the rules, as pure code.
//!
//! A failure that concerns the account pauses all calls of all processes. A failure that may concern one render only makes
//! that render the suspect; if a call about a second render fails with no success in between, the trouble is everyone's.
//! Each pause lasts twice as long as the one before, until a call succeeds. A pause that Magic Hour asked for with
//! `Retry-After` ends when it said, and nothing ends it earlier.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::RenderId;
use crate::upstream::error::{Scope, UpstreamError};

/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause, also where `Retry-After` asks for more.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// How far apart the clocks of two processes may be. A time further ahead than the longest gap and this was written by a
/// clock that was wrong, and counts as past.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_mins(1);

/// What all processes share: the one row of the throttle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// No call before this time: `RECONCILE_RATE`.
    pub(super) next_call_at: DateTime<Utc>,
    /// No call before this time.
    pub(super) paused_until: DateTime<Utc>,
    /// The part of the pause that Magic Hour asked for.
    pub(super) retry_after_until: DateTime<Utc>,
    /// Pauses since the last success.
    pub(super) failures: u32,
    /// The id of the render whose call failed last, if none succeeded since.
    pub(super) suspect: Option<String>,
}

/// Whether a call may be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It may.
    Granted,
    /// Another call was made a moment ago.
    TooEarly,
    /// Calls pause.
    Paused,
}

/// Whom a failed call concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// This render, as far as is known.
    Render,
    /// The account or the API: calls pause.
    Everyone {
        /// Whether they did not pause before: worth a line in the log.
        is_news: bool,
    },
}

impl State {
    /// Whether a call may be made at `now`, if calls are made every `gap`.
    pub(super) fn turn(&self, gap: Duration, now: DateTime<Utc>) -> Turn {
        if is_ahead(self.paused_until, LONGEST_PAUSE, now) {
            Turn::Paused
        } else if is_ahead(self.next_call_at, gap, now) {
            Turn::TooEarly
        } else {
            Turn::Granted
        }
    }

    /// Whom a call about `render` concerns that was made at `asked_at` and failed, and what follows, if anything does.
    pub(super) fn after_failure(
        self,
        error: &UpstreamError,
        render: &RenderId,
        asked_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> (Blame, Option<Self>) {
        match (error.scope(), self.suspect.as_deref()) {
            (Scope::Render, _) => (Blame::Render, None),
            (Scope::Unclear, Some(suspect)) if suspect == render.as_str() => (Blame::Render, None),
            (Scope::Unclear, None) => (Blame::Render, Some(Self { suspect: Some(render.to_string()), ..self })),
            (Scope::Account, _) | (Scope::Unclear, Some(_)) => {
                let (is_news, state) = self.pause(error.retry_after(), asked_at, now);
                (Blame::Everyone { is_news }, Some(Self { suspect: Some(render.to_string()), ..state }))
            }
        }
    }

    fn pause(self, retry_after: Option<Duration>, asked_at: DateTime<Utc>, now: DateTime<Utc>) -> (bool, Self) {
        let state = self.without_wrong_clocks(now);
        let asked_for = retry_after.map_or(DateTime::UNIX_EPOCH, |asked_for| now + asked_for.min(LONGEST_PAUSE));
        let retry_after_until = state.retry_after_until.max(asked_for);
        // A call from before the pause adds nothing to it, unless Magic Hour asks for more.
        if state.paused_until > asked_at {
            let paused_until = state.paused_until.max(retry_after_until);
            return (false, Self { paused_until, retry_after_until, ..state });
        }
        let gap = FIRST_PAUSE.saturating_mul(1 << state.failures.min(16)).min(LONGEST_PAUSE);
        let paused_until = retry_after_until.max(now + gap);
        let failures = state.failures.saturating_add(1);
        (state.failures == 0, Self { paused_until, retry_after_until, failures, ..state })
    }

    /// What follows from a call that was made at `asked_at` and that the API answered; `None` if nothing does. A call from
    /// before the pause does not end it.
    pub(super) fn after_success(self, asked_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Self> {
        let state = self.clone().without_wrong_clocks(now);
        let is_well = self.failures == 0 && self.suspect.is_none();
        if is_well || state.paused_until > asked_at {
            return None;
        }
        Some(Self { failures: 0, suspect: None, ..state })
    }

    /// What follows from the start of a process: its key may be another one, so only what Magic Hour asked for remains.
    pub(super) fn after_start(self, now: DateTime<Utc>) -> Self {
        let state = self.without_wrong_clocks(now);
        Self { paused_until: state.retry_after_until, failures: 0, suspect: None, ..state }
    }

    fn without_wrong_clocks(self, now: DateTime<Utc>) -> Self {
        let plausible = |time| if is_plausible(time, LONGEST_PAUSE, now) { time } else { DateTime::UNIX_EPOCH };
        Self {
            paused_until: plausible(self.paused_until),
            retry_after_until: plausible(self.retry_after_until),
            ..self
        }
    }
}

/// Whether `time` lies ahead of `now` and no further than anything legitimate does.
fn is_ahead(time: DateTime<Utc>, longest: Duration, now: DateTime<Utc>) -> bool {
    time > now && is_plausible(time, longest, now)
}

fn is_plausible(time: DateTime<Utc>, longest: Duration, now: DateTime<Utc>) -> bool {
    time <= now + longest + CLOCK_SKEW
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use reqwest::StatusCode;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn well() -> State {
        let epoch = DateTime::UNIX_EPOCH;
        State { next_call_at: epoch, paused_until: epoch, retry_after_until: epoch, failures: 0, suspect: None }
    }

    fn id(text: &str) -> RenderId {
        text.parse().unwrap()
    }

    fn failing(status: u16, retry_after: Option<u64>) -> UpstreamError {
        let (status, retry_after) = (StatusCode::from_u16(status).unwrap(), retry_after.map(Duration::from_secs));
        UpstreamError::ServerError { status, retry_after }
    }

    fn limited(retry_after: u64) -> UpstreamError {
        UpstreamError::RateLimited { retry_after: Some(Duration::from_secs(retry_after)) }
    }

    /// The state after a failure at the second `now`, of a call that was made one second earlier.
    fn failed(state: State, error: &UpstreamError, render: &str, now: i64) -> State {
        state.clone().after_failure(error, &id(render), at(now - 1), at(now)).1.unwrap_or(state)
    }

    #[test]
    fn a_call_may_be_made_once_the_gap_and_the_pause_are_over() {
        let turn = |next: i64, paused: i64| {
            let state = State { next_call_at: at(next), paused_until: at(paused), ..well() };
            state.turn(Duration::from_secs(1), at(0))
        };
        assert_eq!(turn(0, 0), Turn::Granted);
        assert_eq!(turn(1, 0), Turn::TooEarly);
        assert_eq!(turn(1, 1), Turn::Paused);
        assert_eq!(turn(0, 3660), Turn::Paused);
        assert_eq!(turn(61, 3661), Turn::TooEarly);
        assert_eq!(turn(62, 3661), Turn::Granted, "a clock was wrong");
    }

    #[test]
    fn one_render_that_always_fails_pauses_nothing() {
        let mut state = well();
        for now in 0..100 {
            state = failed(state, &failing(500, None), "poison", now);
        }
        assert_eq!(state, State { suspect: Some("poison".into()), ..well() });
    }

    #[test]
    fn a_second_render_that_fails_as_well_pauses_everything_unless_a_call_succeeded_in_between() {
        let one = failed(well(), &failing(500, None), "one", 0);
        let (blame, both) = one.clone().after_failure(&UpstreamError::Timeout, &id("two"), at(0), at(1));
        assert_eq!(blame, Blame::Everyone { is_news: true });
        assert_eq!(both.map(|both| (both.paused_until, both.failures)), Some((at(11), 1)));

        let cleared = one.after_success(at(1), at(1)).unwrap();
        assert_eq!(cleared, well());
        let two = failed(cleared, &UpstreamError::Timeout, "two", 2);
        assert_eq!(two, State { suspect: Some("two".into()), ..well() });
    }

    #[test]
    fn what_the_status_says_of_the_account_pauses_everything_at_once() {
        for error in [UpstreamError::Unauthorized, UpstreamError::PaymentRequired, limited(0)] {
            let (blame, state) = well().after_failure(&error, &id("one"), at(0), at(1));
            let expected = (Blame::Everyone { is_news: true }, Some(at(11)));
            assert_eq!((blame, state.map(|state| state.paused_until)), expected, "{error:?}");
        }
        for error in [UpstreamError::NotFound, UpstreamError::Template, UpstreamError::InvalidId] {
            let after = well().after_failure(&error, &id("one"), at(0), at(1));
            assert_eq!(after, (Blame::Render, None), "{error:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_an_hour_and_are_news_once() {
        let (mut state, mut now, mut pauses, mut news) = (well(), 0, Vec::new(), 0);
        for _ in 0..12 {
            let (blame, after) = state.after_failure(&UpstreamError::Unauthorized, &id("one"), at(now), at(now));
            news += i32::from(blame == Blame::Everyone { is_news: true });
            state = after.unwrap();
            pauses.push((state.paused_until - at(now)).num_seconds());
            now = state.paused_until.timestamp() - at(0).timestamp();
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]);
        assert_eq!(news, 1);
        let again = state.after_success(at(now), at(now)).unwrap();
        assert_eq!((again.failures, again.suspect), (0, None));
    }

    #[test]
    fn calls_from_before_a_pause_neither_prolong_nor_end_it_but_retry_after_counts() {
        let paused = failed(well(), &UpstreamError::Unauthorized, "one", 0);
        assert_eq!(failed(paused.clone(), &UpstreamError::Unauthorized, "two", 1).paused_until, paused.paused_until);
        assert_eq!(paused.clone().after_success(at(-1), at(1)), None);
        let asked = failed(paused, &limited(600), "three", 2);
        assert_eq!((asked.paused_until, asked.retry_after_until, asked.failures), (at(602), at(602), 1));
    }

    #[test]
    fn a_start_ends_a_pause_of_our_own_and_never_one_that_magic_hour_asked_for() {
        let ours = failed(well(), &UpstreamError::Unauthorized, "one", 0);
        assert_eq!(ours.after_start(at(1)), well());
        let theirs = failed(well(), &limited(3600), "one", 0).after_start(at(8));
        assert_eq!((theirs.paused_until, theirs.failures), (at(3600), 0));
        let too_long = failed(well(), &limited(100_000), "one", 0);
        assert_eq!(too_long.paused_until, at(3600), "at most an hour");
    }

    #[test]
    fn a_time_from_a_clock_that_was_ahead_counts_as_past() {
        let ahead = at(0) + TimeDelta::hours(24);
        let suspect = Some("one".to_owned());
        let state = State { next_call_at: ahead, paused_until: ahead, retry_after_until: ahead, failures: 3, suspect };
        assert_eq!(state.turn(Duration::from_secs(1), at(0)), Turn::Granted);
        let well = || State { next_call_at: ahead, ..well() };
        assert_eq!(state.clone().after_start(at(0)), well());
        assert_eq!(state.clone().after_success(at(0), at(0)), Some(well()));
        assert_eq!(failed(state, &UpstreamError::Unauthorized, "two", 0).paused_until, at(80));
    }
}
