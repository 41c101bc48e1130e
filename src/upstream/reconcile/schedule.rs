//! When renders are polled: pure rules.
//!
//! An unfinished render is polled [`Schedule::initial_delay`] after its last webhook. While its status does not change, the
//! interval doubles up to [`Schedule::max_interval`]. A render that Magic Hour does not know is polled less and less
//! often, down to once a day. A render that is unfinished for longer than [`STALLED_AFTER`] is stalled: it is polled once a
//! day, and no longer after [`ABANDONED_AFTER`]. A failed poll is retried with its own backoff. Every delay is shortened
//! by up to a fifth at random, so that renders do not stay synchronized.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// How long a render may stay unfinished before it is stalled.
const STALLED_AFTER: TimeDelta = TimeDelta::days(7);
/// How long a stalled render is polled.
const ABANDONED_AFTER: TimeDelta = TimeDelta::days(30);
/// The interval for stalled renders, and the maximum interval for renders that Magic Hour does not know.
const ONE_DAY: Duration = Duration::from_hours(24);
/// No render is polled more often than this.
const MIN_INTERVAL: Duration = Duration::from_secs(10);
/// The first and the maximum delay after failed polls, and for complete renders without URLs.
const SHORT_DELAYS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(1));

/// The settings for polling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// `RECONCILE_AFTER`: the delay before the first poll.
    pub initial_delay: Duration,
    /// `RECONCILE_MAX_INTERVAL`: the maximum interval for unfinished renders.
    pub max_interval: Duration,
}

/// What a polled render is still missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is unfinished.
    Ending,
    /// It failed or was canceled, and events contradict each other about which.
    Confirmation,
    /// It is complete, but the URLs of its files are missing.
    Urls,
}

/// The polling history of a render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PollHistory {
    /// When renderhook first saw it.
    pub(super) first_seen_at: DateTime<Utc>,
    /// Since when it is stalled.
    pub(super) stalled_at: Option<DateTime<Utc>>,
    /// The number of consecutive polls without a status change, including this one.
    pub(super) attempts: u32,
    /// Whether Magic Hour knows it.
    pub(super) found: bool,
}

/// When a render is polled next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextPoll {
    /// At this time.
    At(DateTime<Utc>),
    /// Never, unless an event or a request changes that.
    Never,
}

impl Schedule {
    /// The minimum time between two polls of one render.
    #[must_use]
    pub fn min_interval(&self) -> Duration {
        MIN_INTERVAL.min(self.initial_delay)
    }

    /// The maximum delay until the next poll. A time further ahead comes from a clock that was wrong.
    pub(super) fn max_delay(&self) -> Duration {
        ONE_DAY.max(self.initial_delay).max(self.max_interval)
    }

    /// Whether a render that is unfinished at `now` is stalled.
    pub(super) fn is_stalled(history: &PollHistory, now: DateTime<Utc>) -> bool {
        history.stalled_at.is_some() || now - history.first_seen_at > STALLED_AFTER
    }

    /// When to poll a render again that is still `missing` something after an answer at `now`. `jitter` is from 0 to 1.
    pub(super) fn next(&self, missing: Missing, history: &PollHistory, now: DateTime<Utc>, jitter: f64) -> NextPoll {
        if Self::is_stalled(history, now) {
            return match history.stalled_at {
                Some(stalled_at) if now - stalled_at > ABANDONED_AFTER => NextPoll::Never,
                _ => NextPoll::At(now + jittered(ONE_DAY, jitter)),
            };
        }
        let (first, max) = match (missing, history.found) {
            (Missing::Ending | Missing::Confirmation, true) => (self.initial_delay, self.max_interval),
            (Missing::Ending | Missing::Confirmation, false) => (self.initial_delay, ONE_DAY),
            (Missing::Urls, true) => SHORT_DELAYS,
            (Missing::Urls, false) => (SHORT_DELAYS.0, ONE_DAY),
        };
        NextPoll::At(now + jittered(doubled(first, history.attempts).min(max), jitter))
    }

    /// When to retry a poll that failed at `now`. `attempts` counts consecutive polls without a status change. Not before
    /// `retry_after`.
    pub(super) fn after_failure(
        attempts: u32,
        retry_after: Option<Duration>,
        now: DateTime<Utc>,
        jitter: f64,
    ) -> DateTime<Utc> {
        let (first, max) = SHORT_DELAYS;
        let delay = jittered(doubled(first, attempts.saturating_sub(1)).min(max), jitter);
        now + delay.max(retry_after.unwrap_or_default().min(max))
    }
}

fn doubled(delay: Duration, times: u32) -> Duration {
    delay.saturating_mul(1 << times.min(31))
}

fn jittered(delay: Duration, jitter: f64) -> Duration {
    delay.mul_f64(1.0 - 0.2 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule =
        Schedule { initial_delay: Duration::from_mins(5), max_interval: Duration::from_hours(1) };

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn history(attempts: u32, found: bool) -> PollHistory {
        PollHistory { first_seen_at: start(), stalled_at: None, attempts, found }
    }

    fn minutes(missing: Missing, history: &PollHistory, jitter: f64) -> i64 {
        match SCHEDULE.next(missing, history, start(), jitter) {
            NextPoll::At(at) => (at - start()).num_seconds() / 60,
            NextPoll::Never => panic!("never"),
        }
    }

    #[test]
    fn intervals_double_while_the_status_does_not_change_and_jitter_only_shortens_them() {
        let gaps = |found, jitter| -> Vec<_> {
            (0..=9).map(|attempts| minutes(Missing::Ending, &history(attempts, found), jitter)).collect()
        };
        assert_eq!(gaps(true, 0.0), [5, 10, 20, 40, 60, 60, 60, 60, 60, 60]);
        assert_eq!(gaps(true, 1.0), [4, 8, 16, 32, 48, 48, 48, 48, 48, 48]);
        assert_eq!(gaps(false, 0.0), [5, 10, 20, 40, 80, 160, 320, 640, 1280, 1440]);
        assert_eq!(minutes(Missing::Ending, &history(u32::MAX, true), 0.0), 60);
        assert_eq!(minutes(Missing::Urls, &history(1, true), 0.0), 0);
        assert_eq!(minutes(Missing::Urls, &history(9, true), 0.0), 60);
        assert_eq!(minutes(Missing::Urls, &history(20, false), 0.0), 1440);
    }

    #[test]
    fn the_delay_after_failed_polls_doubles_up_to_an_hour_and_respects_retry_after() {
        let gap = |attempts, retry_after: Option<u64>, jitter| {
            let retry_after = retry_after.map(Duration::from_secs);
            (Schedule::after_failure(attempts, retry_after, start(), jitter) - start()).num_seconds()
        };
        let gaps: Vec<_> = (1..=11).map(|attempts| gap(attempts, None, 0.0)).collect();
        assert_eq!(gaps, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
        assert_eq!((gap(1, None, 1.0), gap(u32::MAX, None, 0.0)), (8, 3600));
        assert_eq!((gap(1, Some(600), 1.0), gap(1, Some(86_400), 0.0), gap(11, Some(1), 0.0)), (600, 3600, 3600));
    }

    #[test]
    fn an_unfinished_render_is_polled_daily_after_a_week_and_never_after_another_month() {
        let young = history(30, true);
        let week = start() + TimeDelta::days(7);
        assert!(!Schedule::is_stalled(&young, week));
        assert!(Schedule::is_stalled(&young, week + TimeDelta::seconds(1)));
        let stalled_at = week + TimeDelta::hours(1);
        assert_eq!(
            SCHEDULE.next(Missing::Ending, &young, stalled_at, 0.0),
            NextPoll::At(stalled_at + TimeDelta::days(1))
        );
        let stalled = PollHistory { stalled_at: Some(stalled_at), ..young };
        let last = stalled_at + TimeDelta::days(30);
        for missing in [Missing::Ending, Missing::Urls] {
            assert_eq!(SCHEDULE.next(missing, &stalled, last, 0.0), NextPoll::At(last + TimeDelta::days(1)));
            assert_eq!(SCHEDULE.next(missing, &stalled, last + TimeDelta::seconds(1), 0.0), NextPoll::Never);
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
            match SCHEDULE.next(Missing::Ending, &history, now, 0.0) {
                NextPoll::At(next) => now = next,
                NextPoll::Never => break,
            }
        }
        let within = |days| calls.iter().filter(|&&call| call <= start() + TimeDelta::days(days)).count();
        assert_eq!((within(1), within(7), calls.len()), (26, 170, 202));
    }
}
