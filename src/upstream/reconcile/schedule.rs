//! When a render is asked for: the rules, as pure code.
//!
//! An unfinished render is asked for once it has been silent for [`Schedule::after`], and then, while it does not move, at
//! gaps that double up to [`Schedule::longest`]. One that Magic Hour does not know is asked for ever more rarely, up to once
//! a day. One that stays unfinished for longer than [`STALLS_AFTER`] is stalled: it is asked for daily, and left alone after
//! [`LEFT_AFTER`] more. Each gap is shorter by up to a fifth, by chance, so that what fell silent together does not stay
//! together.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// How long a render may stay unfinished before it is stalled.
pub(crate) const STALLS_AFTER: TimeDelta = TimeDelta::days(7);
/// How long a stalled render is asked for before it is left alone.
pub(crate) const LEFT_AFTER: TimeDelta = TimeDelta::days(30);
/// The gap between two questions about a stalled render, and the longest one about a render that Magic Hour does not know.
pub(crate) const DAILY: Duration = Duration::from_hours(24);
/// No render is asked for more often than this, whoever wants to know something of it.
pub(crate) const SHORTEST: Duration = Duration::from_secs(10);
/// The gaps between two questions about a render that is complete and has no URLs, first and longest.
const FOR_URLS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_hours(1));

/// The settings of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// `RECONCILE_AFTER`: the silence before the first question.
    pub after: Duration,
    /// `RECONCILE_MAX_INTERVAL`: the longest gap between two questions about an unfinished render.
    pub longest: Duration,
}

/// What a render that was just asked for waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Its end.
    ForTheEnd,
    /// The URLs of its files: it is complete.
    ForUrls,
}

/// What is known of a render that was just asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// When it was first heard of.
    pub first_seen_at: DateTime<Utc>,
    /// Since when it is stalled.
    pub stalled_at: Option<DateTime<Utc>>,
    /// How often in a row it was asked for and did not move, this time included.
    pub tries: u32,
    /// Whether Magic Hour knows it.
    pub found: bool,
}

/// When it is asked for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Then.
    At(DateTime<Utc>),
    /// Not again, unless a webhook or a person speaks of it.
    Never,
}

impl Schedule {
    /// The shortest time between two questions about one render.
    #[must_use]
    pub fn spacing(&self) -> Duration {
        SHORTEST.min(self.after)
    }

    /// Whether a render that has not ended at `now` is stalled.
    #[must_use]
    pub fn is_stalled(standing: &Standing, now: DateTime<Utc>) -> bool {
        standing.stalled_at.is_some() || now - standing.first_seen_at > STALLS_AFTER
    }

    /// When a render is asked for that has not ended, or has no URLs, after an answer at `now`. `chance` is from 0 to 1.
    #[must_use]
    pub fn next(&self, waits: Waits, standing: &Standing, now: DateTime<Utc>, chance: f64) -> Next {
        if Self::is_stalled(standing, now) {
            return match standing.stalled_at {
                Some(stalled_at) if now - stalled_at > LEFT_AFTER => Next::Never,
                _ => Next::At(now + by_chance(DAILY, chance)),
            };
        }
        let (first, longest) = match (waits, standing.found) {
            (Waits::ForTheEnd, true) => (self.after, self.longest),
            (Waits::ForTheEnd, false) => (self.after, DAILY),
            (Waits::ForUrls, true) => FOR_URLS,
            (Waits::ForUrls, false) => (FOR_URLS.0, DAILY),
        };
        Next::At(now + by_chance(doubled(first, standing.tries).min(longest), chance))
    }
}

fn doubled(gap: Duration, times: u32) -> Duration {
    gap.saturating_mul(1 << times.min(31))
}

fn by_chance(gap: Duration, chance: f64) -> Duration {
    gap.mul_f64(1.0 - 0.2 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule { after: Duration::from_mins(5), longest: Duration::from_hours(1) };

    fn start() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn standing(tries: u32, found: bool) -> Standing {
        Standing { first_seen_at: start(), stalled_at: None, tries, found }
    }

    fn minutes(waits: Waits, standing: &Standing, chance: f64) -> i64 {
        match SCHEDULE.next(waits, standing, start(), chance) {
            Next::At(at) => (at - start()).num_seconds() / 60,
            Next::Never => panic!("never"),
        }
    }

    #[test]
    fn gaps_double_while_nothing_moves_and_chance_only_shortens_them() {
        let gaps = |found, chance| -> Vec<_> {
            (0..=9).map(|tries| minutes(Waits::ForTheEnd, &standing(tries, found), chance)).collect()
        };
        assert_eq!(gaps(true, 0.0), [5, 10, 20, 40, 60, 60, 60, 60, 60, 60]);
        assert_eq!(gaps(true, 1.0), [4, 8, 16, 32, 48, 48, 48, 48, 48, 48]);
        assert_eq!(gaps(false, 0.0), [5, 10, 20, 40, 80, 160, 320, 640, 1280, 1440]);
        assert_eq!(minutes(Waits::ForTheEnd, &standing(u32::MAX, true), 0.0), 60);
        assert_eq!(minutes(Waits::ForUrls, &standing(1, true), 0.0), 0);
        assert_eq!(minutes(Waits::ForUrls, &standing(9, true), 0.0), 60);
        assert_eq!(minutes(Waits::ForUrls, &standing(20, false), 0.0), 1440);
    }

    #[test]
    fn a_render_that_stays_unfinished_is_asked_for_daily_after_a_week_and_left_after_a_month_more() {
        let young = standing(30, true);
        let week = start() + TimeDelta::days(7);
        assert!(!Schedule::is_stalled(&young, week));
        assert!(Schedule::is_stalled(&young, week + TimeDelta::seconds(1)));
        let stalled_at = week + TimeDelta::hours(1);
        assert_eq!(SCHEDULE.next(Waits::ForTheEnd, &young, stalled_at, 0.0), Next::At(stalled_at + TimeDelta::days(1)));
        let stalled = Standing { stalled_at: Some(stalled_at), ..young };
        let last = stalled_at + TimeDelta::days(30);
        for waits in [Waits::ForTheEnd, Waits::ForUrls] {
            assert_eq!(SCHEDULE.next(waits, &stalled, last, 0.0), Next::At(last + TimeDelta::days(1)));
            assert_eq!(SCHEDULE.next(waits, &stalled, last + TimeDelta::seconds(1), 0.0), Next::Never);
        }
    }

    /// What docs/polling.md says of the calls that a render costs.
    #[test]
    fn a_day_of_silence_costs_some_thirty_calls_and_a_life_of_silence_two_hundred() {
        let (mut now, mut standing, mut calls) = (start() + TimeDelta::minutes(5), standing(0, true), Vec::new());
        loop {
            calls.push(now);
            standing.tries += 1;
            if Schedule::is_stalled(&standing, now) {
                standing.stalled_at = standing.stalled_at.or(Some(now));
            }
            match SCHEDULE.next(Waits::ForTheEnd, &standing, now, 0.0) {
                Next::At(next) => now = next,
                Next::Never => break,
            }
        }
        let within = |days| calls.iter().filter(|&&call| call <= start() + TimeDelta::days(days)).count();
        assert_eq!((within(1), within(7), calls.len()), (26, 170, 202));
    }
}
