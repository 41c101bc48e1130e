//! What becomes of a download after an attempt: the rule, as a pure function.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::archive::backoff;
use crate::archive::fetch::Failure;
use crate::archive::queue::{Reason, StoredObject};
use crate::domain::SignedUrl;

/// A render that was polled within this time, and whose URLs are no newer, gets no fresher ones by asking again.
const POLL_INTERVAL: Duration = Duration::from_mins(10);
/// How long a file waits for a fresh URL before it is tried again without one.
const URL_WAIT: Duration = Duration::from_hours(1);
/// How long a file waits while this process lacks a resource.
const LOCAL_WAIT: Duration = Duration::from_secs(30);

/// How an attempt ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The object is in the store, whole.
    Stored(StoredObject),
    /// It failed.
    Failed(Failure),
    /// It was not begun, because its URL has expired or is about to.
    UrlExpiring,
    /// It was not begun: all attempts that a download has ended with their lease.
    LeasesExpired,
    /// It was interrupted by a stop.
    Interrupted,
}

/// An attempt that ended, and the rules that it was made under.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// How it ended.
    pub outcome: Outcome,
    /// Its number, from 1.
    pub number: u32,
    /// When the first one began.
    pub first_at: DateTime<Utc>,
    /// The URL that it tried.
    pub url: Option<SignedUrl>,
    /// How many a download has.
    pub max_attempts: u32,
    /// Whether fresh URLs can be had.
    pub renews: bool,
    /// Whether the project is to be deleted at Magic Hour once all its files are stored.
    pub deletes: bool,
    /// The jitter of its backoff, from 0 to 1.
    pub chance: f64,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
}

/// What the locked rows say.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    /// The download's newest URL.
    pub(crate) url: Option<SignedUrl>,
    /// When it was observed.
    pub(crate) url_observed_at: DateTime<Utc>,
    /// Whether the render is to be polled already.
    pub(crate) poll_requested: bool,
    /// When it was last polled.
    pub(crate) polled_at: Option<DateTime<Utc>>,
}

/// What becomes of the download.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// It is stored.
    Stored(StoredObject),
    /// It waits for a fresh URL; the attempt does not count.
    AwaitUrl {
        /// What is wrong with the URL.
        reason: Reason,
        /// When it is tried again without a fresh one.
        due_at: DateTime<Utc>,
    },
    /// Another URL arrived during the attempt: due at once, with all attempts before it.
    TryNewUrl {
        /// Why the attempt failed.
        reason: Reason,
    },
    /// It is tried again.
    Retry {
        /// Why the attempt failed.
        reason: Reason,
        /// When the next one is due.
        due_at: DateTime<Utc>,
    },
    /// It is tried again, and the attempt does not count: the trouble is this process's own.
    Postpone {
        /// What was missing.
        reason: Reason,
        /// When the next attempt is due.
        due_at: DateTime<Utc>,
    },
    /// It has failed.
    GiveUp {
        /// How many attempts were made.
        attempts: u32,
        /// The whole story.
        reason: Reason,
    },
    /// It is given back; the attempt does not count.
    Release,
    /// Nothing changes, and the lease is still held: there is no fresher URL to wait for.
    GoAhead,
}

/// Decides what becomes of a download after `attempt`, given its rows as they are under lock.
pub(crate) fn decide(attempt: &Attempt, current: &Current) -> Settlement {
    let replaced = current.url.is_some() && current.url != attempt.url;
    match &attempt.outcome {
        Outcome::Stored(object) => Settlement::Stored(object.clone()),
        Outcome::Interrupted => Settlement::Release,
        Outcome::UrlExpiring => {
            let reason =
                Reason { code: "url_expired".to_owned(), message: "the URL has expired or is about to".to_owned() };
            if replaced {
                Settlement::TryNewUrl { reason }
            } else if polled_lately(attempt, current) {
                // It may still work.
                Settlement::GoAhead
            } else {
                await_url(attempt, reason)
            }
        }
        // No attempt was the last one to fail: each may have taken its worker with it.
        Outcome::LeasesExpired => {
            let message = "its lease ran out: the worker died, or was without a database for long".to_owned();
            let reason = Reason { code: "lease_ran_out".to_owned(), message };
            if replaced { Settlement::TryNewUrl { reason } } else { give_up(attempt, attempt.number - 1, reason) }
        }
        Outcome::Failed(failure) if replaced => Settlement::TryNewUrl { reason: failure.reason().clone() },
        Outcome::Failed(Failure::Permanent { reason }) => {
            Settlement::GiveUp { attempts: attempt.number, reason: reason.clone() }
        }
        Outcome::Failed(Failure::Transient { reason, retry_after }) => try_again(attempt, reason.clone(), *retry_after),
        Outcome::Failed(Failure::Local { reason }) => {
            let wait = LOCAL_WAIT + LOCAL_WAIT.mul_f64(attempt.chance.clamp(0.0, 1.0));
            Settlement::Postpone { reason: reason.clone(), due_at: attempt.ended_at + wait }
        }
        Outcome::Failed(Failure::Expired { reason }) if !attempt.renews => {
            let message = format!("{}; set MAGIC_HOUR_API_KEY to get a fresh one", reason.message);
            try_again(attempt, Reason { code: reason.code.clone(), message }, None)
        }
        Outcome::Failed(Failure::Expired { reason }) if polled_lately(attempt, current) => {
            try_again(attempt, reason.clone(), None)
        }
        Outcome::Failed(Failure::Expired { reason }) => await_url(attempt, reason.clone()),
    }
}

/// Whether an attempt may end with the download given up. What it left in the store is then ended first.
pub(crate) fn may_give_up(attempt: &Attempt) -> bool {
    match &attempt.outcome {
        Outcome::Failed(Failure::Permanent { .. }) | Outcome::LeasesExpired => true,
        Outcome::Failed(Failure::Transient { .. } | Failure::Expired { .. }) => attempt.number >= attempt.max_attempts,
        Outcome::Failed(Failure::Local { .. }) | Outcome::Stored(_) | Outcome::UrlExpiring | Outcome::Interrupted => {
            false
        }
    }
}

/// Whether the render was polled a short while ago and had no fresher URL. A poll in the future was recorded by a clock
/// that was ahead, and does not count.
fn polled_lately(attempt: &Attempt, current: &Current) -> bool {
    let now = attempt.ended_at;
    let lately =
        |at: DateTime<Utc>| at > now - POLL_INTERVAL && at < now + POLL_INTERVAL && at >= current.url_observed_at;
    !current.poll_requested && current.polled_at.is_some_and(lately)
}

fn await_url(attempt: &Attempt, reason: Reason) -> Settlement {
    Settlement::AwaitUrl { reason, due_at: attempt.ended_at + URL_WAIT }
}

/// Another attempt, unless this was the last.
fn try_again(attempt: &Attempt, reason: Reason, retry_after: Option<Duration>) -> Settlement {
    if attempt.number >= attempt.max_attempts {
        return give_up(attempt, attempt.number, reason);
    }
    let gap = backoff::after_attempt(attempt.number, attempt.chance);
    Settlement::Retry { reason, due_at: attempt.ended_at + gap.max(retry_after.unwrap_or_default()) }
}

/// The end of all attempts, with the whole story.
fn give_up(attempt: &Attempt, attempts: u32, last: Reason) -> Settlement {
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

    fn attempt(outcome: Outcome) -> Attempt {
        Attempt {
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

    fn last(outcome: Outcome) -> Attempt {
        Attempt { number: 20, ..attempt(outcome) }
    }

    fn same_url() -> Current {
        Current {
            url: SignedUrl::parse("https://h/old").ok(),
            url_observed_at: now() - Duration::from_hours(1),
            poll_requested: false,
            polled_at: None,
        }
    }

    fn new_url() -> Current {
        Current { url: SignedUrl::parse("https://h/new").ok(), ..same_url() }
    }

    fn polled(ago_s: i64) -> Current {
        Current { polled_at: Some(now() - chrono::TimeDelta::seconds(ago_s)), ..same_url() }
    }

    fn reason() -> Reason {
        Reason { code: "http_503".to_owned(), message: "busy".to_owned() }
    }

    fn transient() -> Outcome {
        Outcome::Failed(Failure::Transient { reason: reason(), retry_after: None })
    }

    fn expired() -> Outcome {
        Outcome::Failed(Failure::Expired { reason: reason() })
    }

    fn permanent() -> Outcome {
        Outcome::Failed(Failure::Permanent { reason: reason() })
    }

    fn local() -> Outcome {
        Outcome::Failed(Failure::Local { reason: reason() })
    }

    fn word(settlement: &Settlement) -> &'static str {
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
    fn an_attempt_is_followed_by_what_its_outcome_and_the_rows_say() {
        let object = StoredObject { content_type: "video/mp4".to_owned(), size_bytes: 7, sha256: "ab".repeat(32) };
        let table = [
            ("stored", attempt(Outcome::Stored(object.clone())), same_url()),
            ("stored", last(Outcome::Stored(object)), new_url()),
            ("release", attempt(Outcome::Interrupted), new_url()),
            ("retry", attempt(transient()), same_url()),
            ("give up", last(transient()), same_url()),
            ("give up", attempt(permanent()), same_url()),
            ("give up", attempt(Outcome::LeasesExpired), same_url()),
            ("postpone", attempt(local()), same_url()),
            ("postpone", last(local()), same_url()),
            ("await URL", attempt(expired()), same_url()),
            ("await URL", last(expired()), same_url()),
            ("await URL", attempt(expired()), polled(601)),
            ("retry", attempt(expired()), polled(599)),
            ("give up", last(expired()), polled(599)),
            ("await URL", attempt(expired()), Current { poll_requested: true, ..polled(599) }),
            ("await URL", attempt(expired()), Current { url_observed_at: now(), ..polled(1) }),
            ("retry", Attempt { renews: false, ..attempt(expired()) }, same_url()),
            ("give up", Attempt { renews: false, ..last(expired()) }, same_url()),
            ("await URL", attempt(Outcome::UrlExpiring), same_url()),
            ("go ahead", attempt(Outcome::UrlExpiring), polled(10)),
        ];
        for (expected, attempt, current) in table {
            let settlement = decide(&attempt, &current);
            assert_eq!(word(&settlement), expected, "{attempt:?} {current:?}");
            assert!(expected != "give up" || may_give_up(&attempt), "{attempt:?}");
        }
    }

    #[test]
    fn a_url_that_arrived_during_an_attempt_is_tried_whatever_the_failure() {
        for outcome in [transient(), expired(), permanent(), local(), Outcome::UrlExpiring, Outcome::LeasesExpired] {
            for attempt in [attempt(outcome.clone()), last(outcome)] {
                assert_eq!(word(&decide(&attempt, &new_url())), "try new URL", "{attempt:?}");
                let polled = Current { polled_at: Some(now()), ..new_url() };
                assert_eq!(word(&decide(&attempt, &polled)), "try new URL", "{attempt:?}");
            }
        }
    }

    #[test]
    fn a_poll_that_a_fast_clock_recorded_does_not_count_as_recent() {
        assert_eq!(word(&decide(&attempt(expired()), &polled(-86_400))), "await URL");
    }

    #[test]
    fn a_retry_honors_the_longer_of_backoff_and_retry_after() {
        for (retry_after, wait) in [(None, 20), (Some(5), 20), (Some(1800), 1800)] {
            let retry_after = retry_after.map(Duration::from_secs);
            let attempt = attempt(Outcome::Failed(Failure::Transient { reason: reason(), retry_after }));
            let due_at = now() + Duration::from_secs(wait);
            assert_eq!(decide(&attempt, &same_url()), Settlement::Retry { reason: reason(), due_at });
        }
    }

    #[test]
    fn the_last_error_says_how_often_and_since_when() {
        for (number, max_attempts, times) in
            [(1, 1, "after 1 attempt since 2027"), (20, 20, "after 20 attempts since 2027")]
        {
            let attempt = Attempt { number, max_attempts, ..attempt(transient()) };
            let Settlement::GiveUp { attempts, reason } = decide(&attempt, &same_url()) else { panic!("{number}") };
            assert_eq!((attempts, reason.code.as_str()), (number, "http_503"));
            assert!(reason.message.contains(times) && reason.message.ends_with("busy"), "{}", reason.message);
        }
    }
}
