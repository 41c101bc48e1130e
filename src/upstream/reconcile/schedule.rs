//! When a render is polled: the rules, as pure code.
//!
//! An unfinished render is polled once it has been silent for [`Schedule::after`], and then, while it does not move, at gaps
//! that double up to [`Schedule::longest`]. One that Magic Hour does not know is polled less and less often, down to once a
//! day. One that stays unfinished for longer than [`STALLED_AFTER`] is stalled: it is polled daily, and no longer once it has
//! been stalled for [`ABANDONED_AFTER`]. A poll that fails is repeated soon, at gaps of its own. Each gap is shortened by up
//! to a fifth at random, so that renders that fell silent together do not stay together.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// How long a render may stay unfinished before it is stalled.
const STALLED_AFTER: TimeDelta = TimeDelta::days(7);
/// How long a stalled render is polled.
const ABANDONED_AFTER: TimeDelta = TimeDelta::days(30);
/// The gap between two polls of a stalled render, and the longest one of a render that Magic Hour does not know.
const DAILY: Duration = Duration::from_hours(24);
/// No render is polled more often than this, whatever the reasons are.
const MIN_INTERVAL: Duration = Duration::from_secs(10);
/// The first and the longest gap between two polls of a render that is complete and lacks URLs, and after failed polls.
const SOON: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(1));

/// The settings of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// `RECONCILE_AFTER`: the silence before the first poll.
    pub after: Duration,
    /// `RECONCILE_MAX_INTERVAL`: the longest gap between two polls of an unfinished render.
    pub longest: Duration,
}

/// What a render that was just polled still lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaiting {
    /// It is unfinished.
    End,
    /// It failed or was canceled, and events contradict each other about which.
    Confirmation,
    /// It is complete, and the URLs of its files are missing.
    Urls,
}

/// What is known of a render that was just polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct History {
    /// When renderhook first saw it.
    pub(super) first_seen_at: DateTime<Utc>,
    /// Since when it is stalled.
    pub(super) stalled_at: Option<DateTime<Utc>>,
    /// How many polls in a row, this one included, brought no transition.
    pub(super) attempts: u32,
    /// Whether Magic Hour knows it.
    pub(super) found: bool,
}

/// When a render is polled next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// At this time.
    At(DateTime<Utc>),
    /// Never, unless an event or a person names it.
    Never,
}

impl Schedule {
    /// The shortest time between two polls of one render.
    #[must_use]
    pub fn min_interval(&self) -> Duration {
        MIN_INTERVAL.min(self.after)
    }

    /// The longest time that a poll can lie ahead. What lies further ahead was written by a clock that was wrong.
    pub(super) fn longest_gap(&self) -> Duration {
        DAILY.max(self.after).max(self.longest)
    }

    /// Whether a render that is not done at `now` is stalled.
    pub(super) fn is_stalled(history: &History, now: DateTime<Utc>) -> bool {
        history.stalled_at.is_some() || now - history.first_seen_at > STALLED_AFTER
    }

    /// When a render is polled after an answer at `now` left it without what it is `awaiting`. `chance` is from 0 to 1.
    pub(super) fn next(&self, awaiting: Awaiting, history: &History, now: DateTime<Utc>, chance: f64) -> Next {
        if Self::is_stalled(history, now) {
            return match history.stalled_at {
                Some(stalled_at) if now - stalled_at > ABANDONED_AFTER => Next::Never,
                _ => Next::At(now + jittered(DAILY, chance)),
            };
        }
        let (first, longest) = match (awaiting, history.found) {
            (Awaiting::End | Awaiting::Confirmation, true) => (self.after, self.longest),
            (Awaiting::End | Awaiting::Confirmation, false) => (self.after, DAILY),
            (Awaiting::Urls, true) => SOON,
            (Awaiting::Urls, false) => (SOON.0, DAILY),
        };
        Next::At(now + jittered(doubled(first, history.attempts).min(longest), chance))
    }

    /// When a poll is repeated that failed at `now` as the `attempts`th in a row without a transition: not before
    /// `retry_after`, if Magic Hour asked for that.
    pub(super) fn after_failure(
        attempts: u32,
        retry_after: Option<Duration>,
        now: DateTime<Utc>,
        chance: f64,
    ) -> DateTime<Utc> {
        let (first, longest) = SOON;
        let gap = jittered(doubled(first, attempts.saturating_sub(1)).min(longest), chance);
        now + gap.max(retry_after.unwrap_or_default().min(longest))
    }
}

fn doubled(gap: Duration, times: u32) -> Duration {
    gap.saturating_mul(1 << times.min(31))
}

fn jittered(gap: Duration, chance: f64) -> Duration {
    gap.mul_f64(1.0 - 0.2 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule { after: Duration::from_mins(5), longest: Duration::from_hours(1) };

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn history(attempts: u32, found: bool) -> History {
        History { first_seen_at: start(), stalled_at: None, attempts, found }
    }

    fn minutes(awaiting: Awaiting, history: &History, chance: f64) -> i64 {
        match SCHEDULE.next(awaiting, history, start(), chance) {
            Next::At(at) => (at - start()).num_seconds() / 60,
            Next::Never => panic!("never"),
        }
    }

    #[test]
    fn gaps_double_while_nothing_moves_and_chance_only_shortens_them() {
        let gaps = |found, chance| -> Vec<_> {
            (0..=9).map(|attempts| minutes(Awaiting::End, &history(attempts, found), chance)).collect()
        };
        assert_eq!(gaps(true, 0.0), [5, 10, 20, 40, 60, 60, 60, 60, 60, 60]);
        assert_eq!(gaps(true, 1.0), [4, 8, 16, 32, 48, 48, 48, 48, 48, 48]);
        assert_eq!(gaps(false, 0.0), [5, 10, 20, 40, 80, 160, 320, 640, 1280, 1440]);
        assert_eq!(minutes(Awaiting::End, &history(u32::MAX, true), 0.0), 60);
        assert_eq!(minutes(Awaiting::Urls, &history(1, true), 0.0), 0);
        assert_eq!(minutes(Awaiting::Urls, &history(9, true), 0.0), 60);
        assert_eq!(minutes(Awaiting::Urls, &history(20, false), 0.0), 1440);
    }

    #[test]
    fn a_failed_poll_is_repeated_at_gaps_that_double_up_to_an_hour_and_not_before_retry_after() {
        let gap = |attempts, retry_after: Option<u64>, chance| {
            let retry_after = retry_after.map(Duration::from_secs);
            (Schedule::after_failure(attempts, retry_after, start(), chance) - start()).num_seconds()
        };
        let gaps: Vec<_> = (1..=11).map(|attempts| gap(attempts, None, 0.0)).collect();
        assert_eq!(gaps, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
        assert_eq!((gap(1, None, 1.0), gap(u32::MAX, None, 0.0)), (8, 3600));
        assert_eq!((gap(1, Some(600), 1.0), gap(1, Some(86_400), 0.0), gap(11, Some(1), 0.0)), (600, 3600, 3600));
    }

    #[test]
    fn a_render_that_stays_unfinished_is_polled_daily_after_a_week_and_abandoned_after_a_month_more() {
        let young = history(30, true);
        let week = start() + TimeDelta::days(7);
        assert!(!Schedule::is_stalled(&young, week));
        assert!(Schedule::is_stalled(&young, week + TimeDelta::seconds(1)));
        let stalled_at = week + TimeDelta::hours(1);
        assert_eq!(SCHEDULE.next(Awaiting::End, &young, stalled_at, 0.0), Next::At(stalled_at + TimeDelta::days(1)));
        let stalled = History { stalled_at: Some(stalled_at), ..young };
        let last = stalled_at + TimeDelta::days(30);
        for awaiting in [Awaiting::End, Awaiting::Urls] {
            assert_eq!(SCHEDULE.next(awaiting, &stalled, last, 0.0), Next::At(last + TimeDelta::days(1)));
            assert_eq!(SCHEDULE.next(awaiting, &stalled, last + TimeDelta::seconds(1), 0.0), Next::Never);
        }
    }

    /// The numbers of calls in docs/polling.md.
    #[test]
    fn a_silent_render_costs_26_calls_on_the_first_day_and_202_in_all() {
        let (mut now, mut history, mut calls) = (start() + TimeDelta::minutes(5), history(0, true), Vec::new());
        loop {
            calls.push(now);
            history.attempts += 1;
            if Schedule::is_stalled(&history, now) {
                history.stalled_at = history.stalled_at.or(Some(now));
            }
            match SCHEDULE.next(Awaiting::End, &history, now, 0.0) {
                Next::At(next) => now = next,
                Next::Never => break,
            }
        }
        let within = |days| calls.iter().filter(|&&call| call <= start() + TimeDelta::days(days)).count();
        assert_eq!((within(1), within(7), calls.len()), (26, 170, 202));
    }
}
