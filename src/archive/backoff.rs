//! When to try again.

use std::time::Duration;

/// The first gap between two attempts at a download.
const FIRST: Duration = Duration::from_secs(5);

/// The longest gap, without jitter. With the default of 20 attempts the gaps add up to more than 26 hours: a URL that
/// lives for a day is tried for all of it.
const LONGEST: Duration = Duration::from_hours(3);

/// The most that jitter adds to a gap, as a part of it.
const JITTER: f64 = 0.2;

/// No download is ever scheduled further ahead than this. One that is was scheduled by a clock that was ahead, and is
/// due. It covers the longest gap with its jitter, a server's `Retry-After` and the wait for a fresh URL.
pub(super) const LONGEST_WAIT: Duration = Duration::from_hours(4);

/// How long to wait after attempt number `attempt` (from 1) failed: gaps that double, and up to a fifth more by
/// `chance` (0 to 1), so that what failed together does not come back together.
#[must_use]
pub(super) fn after_attempt(attempt: u32, chance: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    let gap = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    gap + gap.mul_f64(JITTER * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_double_up_to_the_longest_and_jitter_only_adds() {
        let gaps: Vec<_> = (1..=13).map(|attempt| after_attempt(attempt, 0.0).as_secs()).collect();
        assert_eq!(gaps, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 10800]);
        assert_eq!(after_attempt(1, 1.0), Duration::from_secs(6));
        assert_eq!(after_attempt(u32::MAX, 0.0), LONGEST);
    }

    #[test]
    fn no_gap_is_longer_than_the_longest_wait() {
        assert!(after_attempt(u32::MAX, 1.0) < LONGEST_WAIT);
    }

    #[test]
    fn twenty_attempts_are_spread_over_more_than_a_day() {
        let total: Duration = (1..20).map(|attempt| after_attempt(attempt, 0.0)).sum();
        assert!(total > Duration::from_hours(24), "{total:?}");
    }
}
