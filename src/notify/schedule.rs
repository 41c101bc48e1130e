//! What follows an attempt: a pure function.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::client::Reply;

/// The gaps between two attempts. The last one repeats.
const GAPS: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
];

/// The longest gap, with its jitter and whatever the receiver asks for.
pub(super) const MAX_GAP: TimeDelta = TimeDelta::hours(24);

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostOutcome {
    /// It was delivered.
    Delivered,
    /// It is posted again.
    Retry {
        /// When.
        at: DateTime<Utc>,
    },
    /// It failed for good.
    Failed,
}

/// What follows the attempt with this number (from 1) of a notification that has been posted since `since`. `jitter` is
/// a random factor around 1, so that receivers are not hit by everything at once after an outage.
///
/// The last attempt is made when `max_age` is reached.
#[must_use]
pub fn decide(
    reply: &Reply,
    attempt: i32,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    max_age: Duration,
    jitter: f64,
) -> PostOutcome {
    let retry_after = match reply {
        Reply::Delivered => return PostOutcome::Delivered,
        Reply::Gone { .. } => return PostOutcome::Failed,
        Reply::Failed { retry_after, .. } => *retry_after,
    };
    let last_attempt = TimeDelta::from_std(max_age).ok().and_then(|max_age| since.checked_add_signed(max_age));
    if last_attempt.is_some_and(|last| now >= last) {
        return PostOutcome::Failed;
    }
    let index = usize::try_from(attempt - 1).unwrap_or(0).min(GAPS.len() - 1);
    let gap = GAPS[index].mul_f64(jitter).max(retry_after.unwrap_or_default());
    let gap = TimeDelta::from_std(gap).map_or(MAX_GAP, |gap| gap.min(MAX_GAP));
    let at = now + gap;
    PostOutcome::Retry { at: last_attempt.map_or(at, |last| at.min(last)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::PostError;

    const DAYS: Duration = Duration::from_hours(72);

    fn failed(retry_after: Option<u64>) -> Reply {
        Reply::Failed { error: PostError::unanswered("HTTP 500"), retry_after: retry_after.map(Duration::from_secs) }
    }

    fn gap(reply: &Reply, attempt: i32) -> Option<i64> {
        let now = DateTime::UNIX_EPOCH;
        match decide(reply, attempt, now, now, DAYS, 1.0) {
            PostOutcome::Retry { at } => Some((at - now).num_seconds()),
            PostOutcome::Delivered | PostOutcome::Failed => None,
        }
    }

    #[test]
    fn the_gaps_grow_and_the_last_one_repeats() {
        let gaps: Vec<_> = (1..=9).filter_map(|attempt| gap(&failed(None), attempt)).collect();
        assert_eq!(gaps, [5, 30, 300, 1800, 7200, 18_000, 36_000, 36_000, 36_000]);
    }

    #[test]
    fn retry_after_makes_a_gap_longer_but_never_shorter_and_at_most_a_day() {
        assert_eq!(gap(&failed(Some(120)), 1), Some(120));
        assert_eq!(gap(&failed(Some(1)), 2), Some(30));
        assert_eq!(gap(&failed(Some(u64::MAX)), 1), Some(86_400));
    }

    #[test]
    fn a_delivery_and_410_end_it() {
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(decide(&Reply::Delivered, 1, now, now, DAYS, 1.0), PostOutcome::Delivered);
        let gone = Reply::Gone { error: PostError::unanswered("HTTP 410") };
        assert_eq!(decide(&gone, 1, now, now, DAYS, 1.0), PostOutcome::Failed);
    }

    #[test]
    fn the_last_attempt_is_at_the_maximum_age() {
        let since = DateTime::UNIX_EPOCH;
        let (end, now) = (since + TimeDelta::hours(72), since + TimeDelta::hours(70));
        assert_eq!(decide(&failed(None), 9, since, now, DAYS, 1.0), PostOutcome::Retry { at: end });
        assert_eq!(decide(&failed(None), 10, since, end, DAYS, 1.0), PostOutcome::Failed);
    }
}
