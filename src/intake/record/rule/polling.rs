//! When a render is polled, as far as recording decides it. A webhook restarts the time until the next poll. Contradictory or
//! incomplete observations request a poll at once.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::super::observation::{Observation, Source};
use super::decision::StoredRender;
use crate::domain::{Status, rank_of};

/// When a render is to be polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::intake::record) enum PollDue {
    /// After some time without a webhook, if the render is unfinished.
    AfterSilence,
    /// At this time.
    At(DateTime<Utc>),
    /// Not before the next webhook.
    Never,
}

/// The columns that determine when a render is polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::intake::record) struct Polling {
    pub(in crate::intake::record) requested: bool,
    pub(in crate::intake::record) due: PollDue,
    pub(in crate::intake::record) attempts: i32,
    pub(in crate::intake::record) last_seen_at: DateTime<Utc>,
}

/// A summary of a batch of observations of one render.
pub(super) struct Summary {
    /// Whether any came by webhook.
    by_webhook: bool,
    /// The highest status among them.
    status: Option<Status>,
    /// Whether a poll reported a failure.
    failure_confirmed: bool,
    /// The failures reported by webhooks.
    failures: BTreeSet<&'static str>,
    /// Whether it is complete, but a URL is missing.
    awaits_urls: bool,
}

impl Summary {
    pub(super) fn of(observations: &[&Observation]) -> Self {
        let failures = observations.iter().filter(|it| it.source == Source::Webhook).filter_map(|it| it.status);
        let complete = observations.iter().any(|it| it.status == Some(Status::Complete));
        let mut files = observations.iter().flat_map(|it| it.files()).peekable();
        let awaits_urls = complete && (files.peek().is_none() || files.any(|file| file.url.is_none()));
        Self {
            by_webhook: observations.iter().any(|it| it.source == Source::Webhook),
            status: observations.iter().fold(None, |status, it| Status::higher(status, it.status)),
            failure_confirmed: observations.iter().any(|it| it.confirms_failure()),
            failures: failures.filter(|status| status.is_failure()).map(Status::as_str).collect(),
            awaits_urls,
        }
    }

    fn ends_in_failure(&self) -> bool {
        self.status.is_some_and(Status::is_failure)
    }

    /// Whether to poll at once a render that was unfinished before.
    fn requests_poll_of_unfinished(&self) -> bool {
        self.awaits_urls || (self.ends_in_failure() && !self.failure_confirmed && self.failures.len() > 1)
    }

    /// Whether to poll at once a render with the status `before`.
    fn requests_poll(&self, before: Option<Status>, was_confirmed: bool) -> bool {
        let failed_before = before.is_some_and(Status::is_failure);
        match (failed_before, self.status) {
            // A poll confirms that it is complete after all.
            (true, Some(Status::Complete)) => self.by_webhook || self.awaits_urls,
            // The failures contradict each other, and a poll decides.
            (true, Some(_)) if self.ends_in_failure() => {
                !was_confirmed
                    && !self.failure_confirmed
                    && self.failures.iter().any(|it| Some(*it) != before.map(Status::as_str))
            }
            _ => rank_of(self.status) > rank_of(before) && self.requests_poll_of_unfinished(),
        }
    }

    /// How to poll a new render. `lacks_files` is whether fewer files came than announced.
    pub(super) fn first(&self, lacks_files: bool, now: DateTime<Utc>) -> Polling {
        let requested = lacks_files || self.requests_poll_of_unfinished();
        let due = if requested { PollDue::At(now) } else { PollDue::AfterSilence };
        Polling { requested, due, attempts: 0, last_seen_at: now }
    }

    /// How to poll a known render from now on. `lacks_files` is whether it is now known that fewer files came than announced.
    pub(super) fn next(&self, known: &StoredRender, lacks_files: bool, now: DateTime<Utc>) -> Polling {
        let StoredRender { polling, status: before, failure_confirmed, .. } = known;
        let requests = lacks_files || self.requests_poll(*before, *failure_confirmed);
        // A webhook with `complete` answers whatever a poll was requested for.
        let completes = self.status == Some(Status::Complete) && *before != Some(Status::Complete);
        let keeps = polling.requested && !(completes && self.by_webhook);
        let due = match (requests, polling.due) {
            (true, PollDue::At(due)) => PollDue::At(due.min(now)),
            (true, PollDue::AfterSilence | PollDue::Never) => PollDue::At(now),
            // Polling resumes.
            (false, PollDue::Never) if keeps && self.by_webhook => PollDue::At(now),
            (false, due) if keeps || !self.by_webhook => due,
            (false, _) => PollDue::AfterSilence,
        };
        Polling {
            requested: keeps || requests,
            due,
            attempts: if self.by_webhook { 0 } else { polling.attempts },
            last_seen_at: if self.by_webhook { polling.last_seen_at.max(now) } else { polling.last_seen_at },
        }
    }
}
