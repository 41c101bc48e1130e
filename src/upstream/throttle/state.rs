//! When calls of an account are paused: pure rules.
//!
//! A failure that affects the account pauses its calls, in all processes, and those of no other account. After a failure that may affect only one render,
//! that render is the suspect. If a call about a second render then fails before any call succeeds, all calls are paused.
//! Each pause is twice as long as the previous one, until a call succeeds. A pause that Magic Hour requested with
//! `Retry-After` lasts as long as requested, up to [`MAX_PAUSE`].

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::RenderId;
use crate::upstream::error::{FailureScope, UpstreamError};

/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The maximum pause, even if `Retry-After` is longer.
pub(crate) const MAX_PAUSE: Duration = Duration::from_hours(1);
/// How far apart the clocks of two processes may be. A time that is further ahead than possible plus this comes from a
/// clock that was wrong, and counts as past.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_mins(1);

/// The state of an account that all processes share: its row of `upstream_accounts`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AccountState {
    /// No call before this time, because of a pause.
    pub(super) paused_until: DateTime<Utc>,
    /// The end of the pause that Magic Hour requested with `Retry-After`.
    pub(super) retry_after_until: DateTime<Utc>,
    /// The number of pauses since the last success.
    pub(super) failures: u32,
    /// The render whose call failed last, unless a call has succeeded since.
    pub(super) suspect: Option<String>,
}

/// Whether a call of an account may be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Yes.
    Granted,
    /// No, because of the rate limit.
    TooEarly,
    /// No, because calls of the account are paused.
    Paused,
}

/// What a failed call affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureEffect {
    /// Only this render, as far as is known.
    Render,
    /// All calls of the account, which are paused.
    AllCalls {
        /// Whether the pause began with this failure, so that it is logged once.
        pause_began: bool,
    },
}

impl AccountState {
    /// Whether calls are paused at `now`.
    pub(super) fn is_paused(&self, now: DateTime<Utc>) -> bool {
        is_ahead(self.paused_until, MAX_PAUSE, now)
    }

    /// What a failed call about `render` at `called_at` affects, and the new state if it changes.
    pub(super) fn after_failure(
        self,
        error: &UpstreamError,
        render: &RenderId,
        called_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> (FailureEffect, Option<Self>) {
        match (error.scope(), self.suspect.as_deref()) {
            (FailureScope::Render, _) => (FailureEffect::Render, None),
            (FailureScope::Unclear, Some(suspect)) if suspect == render.as_str() => (FailureEffect::Render, None),
            (FailureScope::Unclear, None) => {
                (FailureEffect::Render, Some(Self { suspect: Some(render.to_string()), ..self }))
            }
            (FailureScope::Account, _) | (FailureScope::Unclear, Some(_)) => {
                let (pause_began, state) = self.pause(error.retry_after(), called_at, now);
                (FailureEffect::AllCalls { pause_began }, Some(Self { suspect: Some(render.to_string()), ..state }))
            }
        }
    }

    fn pause(self, retry_after: Option<Duration>, called_at: DateTime<Utc>, now: DateTime<Utc>) -> (bool, Self) {
        let state = self.discard_implausible_times(now);
        let requested = retry_after.map_or(DateTime::UNIX_EPOCH, |requested| now + requested.min(MAX_PAUSE));
        let retry_after_until = state.retry_after_until.max(requested);
        // A call made before the pause does not extend it, unless Magic Hour requests a longer one.
        if state.paused_until > called_at {
            let paused_until = state.paused_until.max(retry_after_until);
            return (false, Self { paused_until, retry_after_until, ..state });
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << state.failures.min(16)).min(MAX_PAUSE);
        let paused_until = retry_after_until.max(now + pause);
        let failures = state.failures.saturating_add(1);
        (state.failures == 0, Self { paused_until, retry_after_until, failures, ..state })
    }

    /// The new state after a call at `called_at` was answered, if it changes. A call made before the pause does not end it.
    pub(super) fn after_success(self, called_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Self> {
        let state = self.clone().discard_implausible_times(now);
        let has_no_failures = self.failures == 0 && self.suspect.is_none();
        if has_no_failures || state.paused_until > called_at {
            return None;
        }
        Some(Self { failures: 0, suspect: None, ..state })
    }

    /// The new state after a process has started. Its key may be a new one, so only a pause that Magic Hour requested
    /// remains.
    pub(super) fn after_start(self, now: DateTime<Utc>) -> Self {
        let state = self.discard_implausible_times(now);
        Self { paused_until: state.retry_after_until, failures: 0, suspect: None, ..state }
    }

    fn discard_implausible_times(self, now: DateTime<Utc>) -> Self {
        let plausible = |time| if is_plausible(time, MAX_PAUSE, now) { time } else { DateTime::UNIX_EPOCH };
        Self {
            paused_until: plausible(self.paused_until),
            retry_after_until: plausible(self.retry_after_until),
            ..self
        }
    }
}

/// Whether the time of the next call, after an interval of `gap`, has come at `now`.
pub(super) fn is_call_due(next_call_at: DateTime<Utc>, gap: Duration, now: DateTime<Utc>) -> bool {
    !is_ahead(next_call_at, gap, now)
}

/// Whether `time` is ahead of `now` and plausible.
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

    fn no_failures() -> AccountState {
        let epoch = DateTime::UNIX_EPOCH;
        AccountState { paused_until: epoch, retry_after_until: epoch, failures: 0, suspect: None }
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

    /// The state after a failure at second `now` of a call made one second before.
    fn failed(state: AccountState, error: &UpstreamError, render: &str, now: i64) -> AccountState {
        state.clone().after_failure(error, &id(render), at(now - 1), at(now)).1.unwrap_or(state)
    }

    #[test]
    fn a_call_is_allowed_after_the_interval_and_the_pause() {
        let may_call = |next: i64, paused: i64| {
            let state = AccountState { paused_until: at(paused), ..no_failures() };
            (is_call_due(at(next), Duration::from_secs(1), at(0)), !state.is_paused(at(0)))
        };
        assert_eq!(may_call(0, 0), (true, true));
        assert_eq!(may_call(1, 0), (false, true));
        assert_eq!(may_call(1, 1), (false, false));
        assert_eq!(may_call(0, 3660), (true, false));
        assert_eq!(may_call(61, 3661), (false, true));
        assert_eq!(may_call(62, 3661), (true, true), "these times come from a wrong clock");
    }

    #[test]
    fn one_render_that_always_fails_does_not_pause_calls() {
        let mut state = no_failures();
        for now in 0..100 {
            state = failed(state, &failing(500, None), "poison", now);
        }
        assert_eq!(state, AccountState { suspect: Some("poison".into()), ..no_failures() });
    }

    #[test]
    fn failures_of_two_renders_pause_all_calls_unless_a_call_succeeded_in_between() {
        let one = failed(no_failures(), &failing(500, None), "one", 0);
        let (effect, both) = one.clone().after_failure(&UpstreamError::Timeout, &id("two"), at(0), at(1));
        assert_eq!(effect, FailureEffect::AllCalls { pause_began: true });
        assert_eq!(both.map(|both| (both.paused_until, both.failures)), Some((at(11), 1)));

        let cleared = one.after_success(at(1), at(1)).unwrap();
        assert_eq!(cleared, no_failures());
        let two = failed(cleared, &UpstreamError::Timeout, "two", 2);
        assert_eq!(two, AccountState { suspect: Some("two".into()), ..no_failures() });
    }

    #[test]
    fn a_failure_of_the_account_pauses_all_calls_at_once() {
        for error in [UpstreamError::Unauthorized, UpstreamError::PaymentRequired, limited(0)] {
            let (effect, state) = no_failures().after_failure(&error, &id("one"), at(0), at(1));
            let expected = (FailureEffect::AllCalls { pause_began: true }, Some(at(11)));
            assert_eq!((effect, state.map(|state| state.paused_until)), expected, "{error:?}");
        }
        for error in [UpstreamError::NotFound, UpstreamError::Template, UpstreamError::InvalidId] {
            let after = no_failures().after_failure(&error, &id("one"), at(0), at(1));
            assert_eq!(after, (FailureEffect::Render, None), "{error:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_an_hour_and_begin_once() {
        let (mut state, mut now, mut pauses, mut news) = (no_failures(), 0, Vec::new(), 0);
        for _ in 0..12 {
            let (effect, after) = state.after_failure(&UpstreamError::Unauthorized, &id("one"), at(now), at(now));
            news += i32::from(effect == FailureEffect::AllCalls { pause_began: true });
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
    fn calls_made_before_a_pause_neither_extend_nor_end_it_but_retry_after_counts() {
        let paused = failed(no_failures(), &UpstreamError::Unauthorized, "one", 0);
        assert_eq!(failed(paused.clone(), &UpstreamError::Unauthorized, "two", 1).paused_until, paused.paused_until);
        assert_eq!(paused.clone().after_success(at(-1), at(1)), None);
        let asked = failed(paused, &limited(600), "three", 2);
        assert_eq!((asked.paused_until, asked.retry_after_until, asked.failures), (at(602), at(602), 1));
    }

    #[test]
    fn a_start_ends_a_pause_unless_magic_hour_requested_it() {
        let ours = failed(no_failures(), &UpstreamError::Unauthorized, "one", 0);
        assert_eq!(ours.after_start(at(1)), no_failures());
        let theirs = failed(no_failures(), &limited(3600), "one", 0).after_start(at(8));
        assert_eq!((theirs.paused_until, theirs.failures), (at(3600), 0));
        let too_long = failed(no_failures(), &limited(100_000), "one", 0);
        assert_eq!(too_long.paused_until, at(3600), "at most an hour");
    }

    #[test]
    fn a_time_from_a_clock_that_was_ahead_counts_as_past() {
        let ahead = at(0) + TimeDelta::hours(24);
        let suspect = Some("one".to_owned());
        let state = AccountState { paused_until: ahead, retry_after_until: ahead, failures: 3, suspect };
        assert!(!state.is_paused(at(0)));
        assert_eq!(state.clone().after_start(at(0)), no_failures());
        assert_eq!(state.clone().after_success(at(0), at(0)), Some(no_failures()));
        assert_eq!(failed(state, &UpstreamError::Unauthorized, "two", 0).paused_until, at(80));
    }
}
