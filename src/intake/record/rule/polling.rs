//! When the details API is to be asked, as far as recording decides it: silence starts anew with a webhook, and what is
//! contradictory or incomplete is asked for at once.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::super::observation::{Observation, Source};
use crate::domain::{Status, rank_of};

/// When a render is to be polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::intake::record) enum PollDue {
    /// Once it has been silent for long, if it is unfinished.
    AfterSilence,
    /// At this time.
    At(DateTime<Utc>),
    /// Not any more, until a webhook names it.
    Never,
}

/// The columns by which a render is polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::intake::record) struct Polling {
    pub(in crate::intake::record) wanted: bool,
    pub(in crate::intake::record) due: PollDue,
    pub(in crate::intake::record) attempts: i32,
    pub(in crate::intake::record) last_seen_at: DateTime<Utc>,
}

/// What some observations of one render come to, for polling.
pub(super) struct Summary {
    by_webhook: bool,
    /// The highest status among them.
    status: Option<Status>,
    /// Whether a poll is among them that says which failure it is.
    confirms: bool,
    /// The failures that webhooks told.
    failures: BTreeSet<&'static str>,
    /// Whether it is complete, and we were not told where each of its files is.
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
            confirms: observations.iter().any(|it| it.confirms_failure()),
            failures: failures.filter(|status| status.is_failure()).map(Status::as_str).collect(),
            awaits_urls,
        }
    }

    fn ends_in_failure(&self) -> bool {
        self.status.is_some_and(Status::is_failure)
    }

    /// Whether a render that was not finished before is to be asked about at once.
    fn wants_from_unfinished(&self) -> bool {
        self.awaits_urls || (self.ends_in_failure() && !self.confirms && self.failures.len() > 1)
    }

    /// Whether a render with the status `before` is to be asked about at once.
    fn wants(&self, before: Option<Status>, was_confirmed: bool) -> bool {
        let failed_before = before.is_some_and(Status::is_failure);
        match (failed_before, self.status) {
            // It is complete after all: one poll settles the rest.
            (true, Some(Status::Complete)) => self.by_webhook || self.awaits_urls,
            // Another failure than the one that stands: the details API knows which it is.
            (true, Some(_)) if self.ends_in_failure() => {
                !was_confirmed
                    && !self.confirms
                    && self.failures.iter().any(|it| Some(*it) != before.map(Status::as_str))
            }
            _ => rank_of(self.status) > rank_of(before) && self.wants_from_unfinished(),
        }
    }

    /// How a render that was unknown is polled.
    pub(super) fn first(&self, now: DateTime<Utc>) -> Polling {
        let wanted = self.wants_from_unfinished();
        let due = if wanted { PollDue::At(now) } else { PollDue::AfterSilence };
        Polling { wanted, due, attempts: 0, last_seen_at: now }
    }

    /// How a render is polled from now on.
    pub(super) fn next(
        &self,
        polling: &Polling,
        before: Option<Status>,
        was_confirmed: bool,
        now: DateTime<Utc>,
    ) -> Polling {
        let wants = self.wants(before, was_confirmed);
        // Whatever was to be asked before, a webhook's `complete` is the answer.
        let completes = self.status == Some(Status::Complete) && before != Some(Status::Complete);
        let keeps = polling.wanted && !(completes && self.by_webhook);
        let due = match (wants, polling.due) {
            (true, PollDue::At(due)) => PollDue::At(due.min(now)),
            (true, PollDue::AfterSilence | PollDue::Never) => PollDue::At(now),
            // What was left alone is taken up again.
            (false, PollDue::Never) if keeps && self.by_webhook => PollDue::At(now),
            (false, due) if keeps || !self.by_webhook => due,
            (false, _) => PollDue::AfterSilence,
        };
        Polling {
            wanted: keeps || wants,
            due,
            attempts: if self.by_webhook { 0 } else { polling.attempts },
            last_seen_at: if self.by_webhook { polling.last_seen_at.max(now) } else { polling.last_seen_at },
        }
    }
}
