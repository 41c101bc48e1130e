//! Decides the next state of a download after an attempt, as a pure function.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

use super::attempt::{AttemptOutcome, AttemptReport};
use crate::archive::backoff;
use crate::archive::fetch::Failure;
use crate::archive::queue::{Reason, StoredObject};
use crate::domain::SignedUrl;

/// Polling a render again within this time returns no fresher URLs.
const POLL_INTERVAL: Duration = Duration::from_mins(10);
/// How long a download waits for a fresh URL before it is tried without one.
const URL_WAIT: Duration = Duration::from_hours(1);
/// How long a download waits while this process lacks a resource.
const LOCAL_WAIT: Duration = Duration::from_secs(30);

/// The state of the locked rows.
#[derive(Debug, Clone)]
pub(crate) struct CurrentDownload {
    /// The download's newest URL.
    pub(crate) url: Option<SignedUrl>,
    /// When it was observed.
    pub(crate) url_observed_at: DateTime<Utc>,
    /// Whether a poll was already requested.
    pub(crate) poll_requested: bool,
    /// When it was last polled.
    pub(crate) polled_at: Option<DateTime<Utc>>,
}

/// The next state of the download.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// It is stored.
    Stored(StoredObject),
    /// It waits for a fresh URL. The attempt does not count.
    AwaitUrl {
        /// What is wrong with the URL.
        reason: Reason,
        /// When it is tried without a fresh one.
        due_at: DateTime<Utc>,
    },
    /// Another URL arrived during the attempt. It is due at once, with all attempts.
    TryNewUrl {
        /// Why the attempt failed.
        reason: Reason,
    },
    /// It is retried.
    Retry {
        /// Why the attempt failed.
        reason: Reason,
        /// When the next one is due.
        due_at: DateTime<Utc>,
    },
    /// It is retried, and the attempt does not count, because this process lacks a resource.
    Postpone {
        /// What was missing.
        reason: Reason,
        /// When the next attempt is due.
        due_at: DateTime<Utc>,
    },
    /// It failed permanently.
    GiveUp {
        /// The number of attempts.
        attempts: u32,
        /// The error, with the number of attempts and the time.
        reason: Reason,
    },
    /// It is released. The attempt does not count.
    Release,
    /// Nothing changes, and the worker keeps the lease, because there is no fresher URL to wait for.
    GoAhead,
}

/// Decides the next state of a download after `attempt`. `current` must be read under lock.
pub(crate) fn decide(attempt: &AttemptReport, current: &CurrentDownload) -> Settlement {
    let replaced = current.url.is_some() && current.url != attempt.url;
    match &attempt.outcome {
        AttemptOutcome::Stored(object) => Settlement::Stored(object.clone()),
        AttemptOutcome::Interrupted => Settlement::Release,
        AttemptOutcome::UrlExpiring => {
            let reason =
                Reason { code: "url_expired".to_owned(), message: "the URL has expired or is about to".to_owned() };
            if replaced {
                Settlement::TryNewUrl { reason }
            } else if polled_recently(attempt, current) {
                // The URL may still work.
                Settlement::GoAhead
            } else {
                await_url(attempt, reason)
            }
        }
        // The attempts did not fail by themselves, but may have crashed their workers.
        AttemptOutcome::LeasesExpired => {
            let message = "its lease ran out: the worker died, or was without a database for long".to_owned();
            let reason = Reason { code: "lease_ran_out".to_owned(), message };
            if replaced { Settlement::TryNewUrl { reason } } else { give_up(attempt, attempt.number - 1, reason) }
        }
        AttemptOutcome::Failed(failure) if replaced => Settlement::TryNewUrl { reason: failure.reason().clone() },
        AttemptOutcome::Failed(failure) => after_failure(attempt, failure, current),
    }
}

/// What follows from a failure, if no other URL has arrived meanwhile.
fn after_failure(attempt: &AttemptReport, failure: &Failure, current: &CurrentDownload) -> Settlement {
    match failure {
        Failure::Permanent { reason } => Settlement::GiveUp { attempts: attempt.number, reason: reason.clone() },
        Failure::Transient { reason, retry_after } => try_again(attempt, reason.clone(), *retry_after),
        Failure::Local { reason } => {
            let wait = LOCAL_WAIT + LOCAL_WAIT.mul_f64(attempt.chance.clamp(0.0, 1.0));
            Settlement::Postpone { reason: reason.clone(), due_at: attempt.ended_at + wait }
        }
        Failure::Expired { reason } if !attempt.renews => {
            let message = format!("{}; set MAGIC_HOUR_API_KEY to get a fresh one", reason.message);
            try_again(attempt, Reason { code: reason.code.clone(), message }, None)
        }
        Failure::Expired { reason } if polled_recently(attempt, current) => try_again(attempt, reason.clone(), None),
        Failure::Expired { reason } => await_url(attempt, reason.clone()),
    }
}

/// Whether the download may fail permanently after this attempt. If so, its partial upload must be aborted first.
pub(crate) fn may_give_up(attempt: &AttemptReport) -> bool {
    match &attempt.outcome {
        AttemptOutcome::Failed(Failure::Permanent { .. }) | AttemptOutcome::LeasesExpired => true,
        AttemptOutcome::Failed(Failure::Transient { .. } | Failure::Expired { .. }) => {
            attempt.number >= attempt.max_attempts
        }
        AttemptOutcome::Failed(Failure::Local { .. })
        | AttemptOutcome::Stored(_)
        | AttemptOutcome::UrlExpiring
        | AttemptOutcome::Interrupted => false,
    }
}

/// Whether the render was polled recently and had no fresher URL. A poll in the future comes from a clock that was ahead, and does
/// not count.
fn polled_recently(attempt: &AttemptReport, current: &CurrentDownload) -> bool {
    let now = attempt.ended_at;
    let lately =
        |at: DateTime<Utc>| at > now - POLL_INTERVAL && at < now + POLL_INTERVAL && at >= current.url_observed_at;
    !current.poll_requested && current.polled_at.is_some_and(lately)
}

fn await_url(attempt: &AttemptReport, reason: Reason) -> Settlement {
    Settlement::AwaitUrl { reason, due_at: attempt.ended_at + URL_WAIT }
}

/// Retries, unless this was the last attempt.
fn try_again(attempt: &AttemptReport, reason: Reason, retry_after: Option<Duration>) -> Settlement {
    if attempt.number >= attempt.max_attempts {
        return give_up(attempt, attempt.number, reason);
    }
    let gap = backoff::after_attempt(attempt.number, attempt.chance);
    Settlement::Retry { reason, due_at: attempt.ended_at + gap.max(retry_after.unwrap_or_default()) }
}

/// Fails permanently. The error includes the number of attempts and the time.
fn give_up(attempt: &AttemptReport, attempts: u32, last: Reason) -> Settlement {
    let since = attempt.first_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let times = if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
    let message = format!("gave up after {times} since {since}; the last error: {}", last.message);
    Settlement::GiveUp { attempts, reason: Reason { code: last.code, message } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn attempt(outcome: AttemptOutcome) -> AttemptReport {
        AttemptReport {
            outcome,
            number: 3,
            first_at: now() - Duration::from_mins(1),
            url: SignedUrl::parse("https://h/old").ok(),
            max_attempts: 20,
            renews: true,
            deletes: false,
            chance: 0.0,
            ended_at: now(),
        }
    }

    fn last(outcome: AttemptOutcome) -> AttemptReport {
        AttemptReport { number: 20, ..attempt(outcome) }
    }

    fn same_url() -> CurrentDownload {
        CurrentDownload {
            url: SignedUrl::parse("https://h/old").ok(),
            url_observed_at: now() - Duration::from_hours(1),
            poll_requested: false,
            polled_at: None,
        }
    }

    fn new_url() -> CurrentDownload {
        CurrentDownload { url: SignedUrl::parse("https://h/new").ok(), ..same_url() }
    }

    fn polled(ago_s: i64) -> CurrentDownload {
        CurrentDownload { polled_at: Some(now() - chrono::TimeDelta::seconds(ago_s)), ..same_url() }
    }

    fn reason() -> Reason {
        Reason { code: "http_503".to_owned(), message: "busy".to_owned() }
    }

    fn transient() -> AttemptOutcome {
        AttemptOutcome::Failed(Failure::Transient { reason: reason(), retry_after: None })
    }

    fn expired() -> AttemptOutcome {
        AttemptOutcome::Failed(Failure::Expired { reason: reason() })
    }

    fn permanent() -> AttemptOutcome {
        AttemptOutcome::Failed(Failure::Permanent { reason: reason() })
    }

    fn local() -> AttemptOutcome {
        AttemptOutcome::Failed(Failure::Local { reason: reason() })
    }

    fn name(settlement: &Settlement) -> &'static str {
        match settlement {
            Settlement::Stored(_) => "stored",
            Settlement::AwaitUrl { .. } => "await URL",
            Settlement::TryNewUrl { .. } => "try new URL",
            Settlement::Retry { .. } => "retry",
            Settlement::Postpone { .. } => "postpone",
            Settlement::GiveUp { .. } => "give up",
            Settlement::Release => "release",
            Settlement::GoAhead => "go ahead",
        }
    }

    #[test]
    fn the_next_state_depends_on_the_outcome_and_the_rows() {
        let object = StoredObject { content_type: "video/mp4".to_owned(), size_bytes: 7, sha256: "ab".repeat(32) };
        let table = [
            ("stored", attempt(AttemptOutcome::Stored(object.clone())), same_url()),
            ("stored", last(AttemptOutcome::Stored(object)), new_url()),
            ("release", attempt(AttemptOutcome::Interrupted), new_url()),
            ("retry", attempt(transient()), same_url()),
            ("give up", last(transient()), same_url()),
            ("give up", attempt(permanent()), same_url()),
            ("give up", attempt(AttemptOutcome::LeasesExpired), same_url()),
            ("postpone", attempt(local()), same_url()),
            ("postpone", last(local()), same_url()),
            ("await URL", attempt(expired()), same_url()),
            ("await URL", last(expired()), same_url()),
            ("await URL", attempt(expired()), polled(601)),
            ("retry", attempt(expired()), polled(599)),
            ("give up", last(expired()), polled(599)),
            ("await URL", attempt(expired()), CurrentDownload { poll_requested: true, ..polled(599) }),
            ("await URL", attempt(expired()), CurrentDownload { url_observed_at: now(), ..polled(1) }),
            ("retry", AttemptReport { renews: false, ..attempt(expired()) }, same_url()),
            ("give up", AttemptReport { renews: false, ..last(expired()) }, same_url()),
            ("await URL", attempt(AttemptOutcome::UrlExpiring), same_url()),
            ("go ahead", attempt(AttemptOutcome::UrlExpiring), polled(10)),
        ];
        for (expected, attempt, current) in table {
            let settlement = decide(&attempt, &current);
            assert_eq!(name(&settlement), expected, "{attempt:?} {current:?}");
            assert!(expected != "give up" || may_give_up(&attempt), "{attempt:?}");
        }
    }

    #[test]
    fn a_url_that_arrived_during_an_attempt_is_tried_after_any_failure() {
        for outcome in
            [transient(), expired(), permanent(), local(), AttemptOutcome::UrlExpiring, AttemptOutcome::LeasesExpired]
        {
            for attempt in [attempt(outcome.clone()), last(outcome)] {
                assert_eq!(name(&decide(&attempt, &new_url())), "try new URL", "{attempt:?}");
                let polled = CurrentDownload { polled_at: Some(now()), ..new_url() };
                assert_eq!(name(&decide(&attempt, &polled)), "try new URL", "{attempt:?}");
            }
        }
    }

    #[test]
    fn a_poll_that_a_fast_clock_recorded_does_not_count_as_recent() {
        assert_eq!(name(&decide(&attempt(expired()), &polled(-86_400))), "await URL");
    }

    #[test]
    fn a_retry_honors_the_longer_of_backoff_and_retry_after() {
        for (retry_after, wait) in [(None, 20), (Some(5), 20), (Some(1800), 1800)] {
            let retry_after = retry_after.map(Duration::from_secs);
            let attempt = attempt(AttemptOutcome::Failed(Failure::Transient { reason: reason(), retry_after }));
            let due_at = now() + Duration::from_secs(wait);
            assert_eq!(decide(&attempt, &same_url()), Settlement::Retry { reason: reason(), due_at });
        }
    }

    #[test]
    fn the_last_error_has_the_number_of_attempts_and_the_time() {
        for (number, max_attempts, times) in
            [(1, 1, "after 1 attempt since 2027"), (20, 20, "after 20 attempts since 2027")]
        {
            let attempt = AttemptReport { number, max_attempts, ..attempt(transient()) };
            let Settlement::GiveUp { attempts, reason } = decide(&attempt, &same_url()) else { panic!("{number}") };
            assert_eq!((attempts, reason.code.as_str()), (number, "http_503"));
            assert!(reason.message.contains(times) && reason.message.ends_with("busy"), "{}", reason.message);
        }
    }
}
