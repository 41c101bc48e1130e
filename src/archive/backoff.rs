//! When to retry a download.

use std::time::Duration;

/// The delay after the first failed attempt.
const FIRST: Duration = Duration::from_secs(5);

/// The maximum delay, without jitter. With the default of 20 attempts, the delays add up to more than 26 hours, which is longer
/// than URLs usually work.
const LONGEST: Duration = Duration::from_hours(3);

/// The maximum jitter, as a fraction of the delay.
const JITTER: f64 = 0.2;

/// No download is scheduled further ahead than this, which covers the maximum delay with jitter, `Retry-After`, and the wait for a
/// fresh URL. Later times come from a clock that was ahead, and count as due.
pub(super) const LONGEST_WAIT: Duration = Duration::from_hours(4);

/// The delay after attempt number `attempt` (from 1) failed. Delays double. `chance` (0 to 1) adds up to a fifth, so that downloads
/// that failed together are not retried together.
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
    fn delays_double_up_to_the_maximum_and_jitter_only_adds() {
        let gaps: Vec<_> = (1..=13).map(|attempt| after_attempt(attempt, 0.0).as_secs()).collect();
        assert_eq!(gaps, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 10800]);
        assert_eq!(after_attempt(1, 1.0), Duration::from_secs(6));
        assert_eq!(after_attempt(u32::MAX, 0.0), LONGEST);
    }

    #[test]
    fn no_delay_is_longer_than_the_maximum_wait() {
        assert!(after_attempt(u32::MAX, 1.0) < LONGEST_WAIT);
    }

    #[test]
    fn twenty_attempts_are_spread_over_more_than_a_day() {
        let total: Duration = (1..20).map(|attempt| after_attempt(attempt, 0.0)).sum();
        assert!(total > Duration::from_hours(24), "{total:?}");
    }
}
