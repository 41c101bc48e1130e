//! The rule: how observations change a render. Pure functions without a database or a clock.
//!
//! [`decide`] takes a stored render (or `None` if it is new) and observations in order, and returns what to write.
//!
//! Guaranteed: in whatever order observations arrive, repeated or not, and however they are batched, the render ends up in the
//! same state, with each transition once. The rank of the status only rises, and every other field is the maximum of a total
//! order.
//!
//! Some things depend on the order by nature:
//! - `transitions` and `credits` are histories in the order of recording.
//! - The kind is that of the first observation.
//! - The first of `error` and `canceled` stays, except that a poll may correct it once.
//! - The key of a file is fixed at its first attempt.
//! - Whether to poll depends on what a batch leaves open.

mod fields;
mod files;
mod polling;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

pub(super) use self::fields::{Field, Fields, Version, Versioned};
use self::fields::{FieldChanges, Merged};
use self::files::FileChange;
pub(super) use self::files::{Download, FileSource};
pub(super) use self::polling::{PollDue, Polling};
use super::observation::{Observation, Source};
use super::{RecordOutcome, Recorded, StatusChange};
use crate::domain::{DownloadState, EventType, FileCounts, Kind, ObjectKey, RenderId, SignedUrl, Status, rank_of};

/// The maximum number of stored deliveries with the same timestamp and body, so that repeating a captured request cannot fill
/// the disk.
pub const MAX_STORED_REPETITIONS: i32 = 64;
/// The error code that Magic Hour asks to be informed about.
const UNKNOWN_ERROR: &str = "unknown_error";

/// The part of a render that recording reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredRender {
    pub(super) id: RenderId,
    pub(super) kind: Kind,
    pub(super) status: Option<Status>,
    pub(super) failure_confirmed: bool,
    /// Sorted.
    pub(super) seen_event_types: Vec<String>,
    pub(super) fields: Fields,
    pub(super) files: FileCounts,
    pub(super) polling: Polling,
    pub(super) first_seen_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) not_found_at: Option<DateTime<Utc>>,
    pub(super) stalled_at: Option<DateTime<Utc>>,
}

impl StoredRender {
    /// Whether an event of this type was delivered before.
    pub(super) fn has_seen(&self, event_type: &str) -> bool {
        self.seen_event_types.binary_search_by(|seen| seen.as_str().cmp(event_type)).is_ok()
    }
}

/// A status change for the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) change: StatusChange,
    pub(super) source: Source,
    pub(super) event_type: Option<String>,
    pub(super) lag_ms: Option<i64>,
}

/// A change of the credits for the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CreditChange {
    pub(super) value: i64,
    pub(super) status: Option<Status>,
    pub(super) source: Source,
}

/// What to write for one render.
#[derive(Debug, Clone)]
pub(super) struct Decision {
    /// The new state of the render.
    pub(super) render: StoredRender,
    /// The status changes, in order.
    pub(super) transitions: Vec<Transition>,
    /// The changes of credits, in order.
    pub(super) credits: Vec<CreditChange>,
    /// The new and changed downloads, by index.
    pub(super) downloads: BTreeMap<i32, Download>,
    /// The result for each observation, in order.
    pub(super) recorded: Vec<Recorded>,
    /// Whether to wake the download workers.
    pub(super) wakes_workers: bool,
    /// Whether to wake the reconciler.
    pub(super) wakes_reconciler: bool,
}

/// Decides how `observations` change their render. `stored` is the render, or `None` if it is new. `downloads` contains those
/// of its downloads that exist and are part of the observations.
///
/// # Panics
/// Panics if `observations` is empty.
pub(super) fn decide(
    stored: Option<&StoredRender>,
    mut downloads: BTreeMap<i32, Download>,
    observations: &[&Observation],
    now: DateTime<Utc>,
) -> Decision {
    let summary = polling::Summary::of(observations);
    let mut update = RenderUpdate {
        render: stored.cloned().unwrap_or_else(|| new_render(observations[0], summary.first(now), now)),
        changed: stored.is_none(),
        transitions: Vec::new(),
        credits: Vec::new(),
        fresh: BTreeMap::new(),
    };
    let mut written = BTreeMap::new();
    let recorded: Vec<_> = observations.iter().map(|observation| update.apply(observation)).collect();
    for observation in observations {
        update.apply_files(observation, &mut downloads, &mut written, now);
    }
    if let Some(before) = stored {
        update.render.polling = summary.next(&before.polling, before.status, before.failure_confirmed, now);
        update.set_timestamps(before, now);
    }
    update.finish(recorded, written, now)
}

/// Whether to store the delivery of an event with this outcome, if the same request is already stored `repetitions` times. New
/// events are always stored.
pub(super) fn stores_delivery(outcome: RecordOutcome, repetitions: i32) -> bool {
    match outcome {
        RecordOutcome::Recorded => true,
        RecordOutcome::Duplicate | RecordOutcome::Late | RecordOutcome::Unknown => repetitions < MAX_STORED_REPETITIONS,
    }
}

/// A new render, before any observation is applied.
fn new_render(first: &Observation, polling: Polling, now: DateTime<Utc>) -> StoredRender {
    StoredRender {
        id: first.render_id.clone(),
        kind: first.kind.unwrap_or(Kind::Video),
        status: None,
        failure_confirmed: false,
        seen_event_types: Vec::new(),
        fields: Fields::default(),
        files: FileCounts::default(),
        polling,
        first_seen_at: now,
        updated_at: now,
        not_found_at: None,
        stalled_at: None,
    }
}

/// The state of a render while observations are applied.
struct RenderUpdate {
    render: StoredRender,
    /// Whether anything in the API answer has changed.
    changed: bool,
    transitions: Vec<Transition>,
    credits: Vec<CreditChange>,
    /// The downloads that are new or have a different URL, and whether they are pending.
    fresh: BTreeMap<i32, bool>,
}

impl RenderUpdate {
    /// Applies an observation, except for its files.
    fn apply(&mut self, observation: &Observation) -> Recorded {
        let render = &mut self.render;
        let before = render.status;
        if before.is_none() && render.seen_event_types.is_empty() {
            // So far, only an announcement has set the kind.
            render.kind = observation.kind.unwrap_or(render.kind);
        }
        let is_duplicate = self.is_duplicate(observation);
        let transition = self.apply_status(observation);
        let had_unknown_error = self.render.fields.error_code() == Some(UNKNOWN_ERROR);
        let changes = self.render.fields.merge(Fields::observed(observation));
        self.changed |= changes.any;
        self.record_credits(observation, changes);
        let is_first_unknown_error = changes.error == Merged::Changed
            && !had_unknown_error
            && self.render.fields.error_code() == Some(UNKNOWN_ERROR);
        let outcome = match transition {
            None if is_duplicate => RecordOutcome::Duplicate,
            None if !observation.known => RecordOutcome::Unknown,
            None if rank_of(observation.status) < rank_of(before) => RecordOutcome::Late,
            Some(_) | None => RecordOutcome::Recorded,
        };
        Recorded {
            outcome,
            transition,
            previous_failure: before.filter(|before| before.is_failure()),
            is_first_unknown_error,
            store_delivery: true,
            changed: false,
            queued: 0,
        }
    }

    /// Adds the event type to those seen, and returns whether it was seen before.
    fn is_duplicate(&mut self, observation: &Observation) -> bool {
        let Some(event_type) = observation.event_type.as_ref().map(EventType::as_str) else { return false };
        match self.render.seen_event_types.binary_search_by(|seen| seen.as_str().cmp(event_type)) {
            // A replayed delivery was already seen when it arrived.
            Ok(_) if observation.replayed_delivery.is_some() => false,
            Ok(_) => true,
            Err(position) => {
                self.render.seen_event_types.insert(position, event_type.to_owned());
                false
            }
        }
    }

    fn apply_status(&mut self, observation: &Observation) -> Option<StatusChange> {
        let render = &mut self.render;
        let reported = observation.status?;
        let to = match observation.source {
            Source::Poll if !render.failure_confirmed => Status::after_poll(render.status, reported),
            Source::Poll | Source::Webhook => Status::after_webhook(render.status, reported),
        };
        render.failure_confirmed |= observation.confirms_failure();
        let change = StatusChange { from: render.status, to: to? };
        render.status = to;
        self.changed = true;
        self.transitions.push(Transition {
            change,
            source: observation.source,
            event_type: observation.event_type.as_ref().map(ToString::to_string),
            lag_ms: observation.lag_ms,
        });
        Some(change)
    }

    fn record_credits(&mut self, observation: &Observation, changes: FieldChanges) {
        let Some(credits) = &self.render.fields.credits_charged else { return };
        if changes.credits == Merged::Changed {
            let (status, source) = (observation.status, observation.source);
            self.credits.push(CreditChange { value: credits.value, status, source });
        }
    }

    /// Applies the files of an observation to `downloads`, and adds changed ones to `written`.
    fn apply_files(
        &mut self,
        observation: &Observation,
        downloads: &mut BTreeMap<i32, Download>,
        written: &mut BTreeMap<i32, Download>,
        now: DateTime<Utc>,
    ) {
        let Some(kind) = observation.kind else { return };
        for (entry, index) in observation.files().iter().zip(0..) {
            let url = entry.url.as_ref().map(SignedUrl::expose);
            let source = FileSource {
                url: url.map(ToString::to_string),
                host: entry.url.as_ref().map(SignedUrl::host).unwrap_or_default().to_owned(),
                expires_at: entry.expires_at.filter(|_| url.is_some()),
                observed_at: observation.observed_at,
            };
            let key = ObjectKey::new(kind, &self.render.id, index, url).to_string();
            let current = downloads.get(&index);
            let next = match files::observe(current, source, key, now) {
                FileChange::None => continue,
                FileChange::Extended(next) => next,
                FileChange::Fresh(next) => {
                    self.fresh.insert(index, next.state == DownloadState::Pending);
                    next
                }
            };
            update_counts(&mut self.render.files, current, &next);
            downloads.insert(index, next.clone());
            written.insert(index, next);
        }
    }

    /// Sets the timestamps of a render that was known before.
    fn set_timestamps(&mut self, before: &StoredRender, now: DateTime<Utc>) {
        // An observation proves that Magic Hour knows the render, and a transition that it is not stalled.
        self.render.not_found_at = None;
        if rank_of(self.render.status) > rank_of(before.status) {
            self.render.stalled_at = None;
        }
        if self.render.status.is_some_and(Status::is_finished) && !self.render.polling.requested {
            // The render is not polled any more. An unchanged row is not written.
            self.render.polling.last_seen_at = before.polling.last_seen_at;
        }
        if self.changed {
            self.render.updated_at = before.updated_at.max(now);
        }
    }

    fn finish(self, mut recorded: Vec<Recorded>, downloads: BTreeMap<i32, Download>, now: DateTime<Utc>) -> Decision {
        let changed = self.changed || !self.fresh.is_empty();
        for it in &mut recorded {
            it.changed = changed;
            it.queued = i64::try_from(self.fresh.len()).unwrap_or(i64::MAX);
        }
        let polling = &self.render.polling;
        Decision {
            wakes_workers: self.fresh.values().any(|&due| due),
            wakes_reconciler: polling.requested && polling.due == PollDue::At(now),
            render: self.render,
            transitions: self.transitions,
            credits: self.credits,
            downloads,
            recorded,
        }
    }
}

/// Updates the counts after a download changed from `current` to `next`.
fn update_counts(files: &mut FileCounts, current: Option<&Download>, next: &Download) {
    let failed = |download: &Download| i32::from(download.state == DownloadState::Failed);
    files.total += i32::from(current.is_none());
    files.failed += failed(next) - current.map_or(0, failed);
}
