//! The rule: what observations of a render make of it. Pure: no database, no clock.
//!
//! [`decide`] takes a render as it is stored (or nothing, if it is new), and what was observed of it in order, and says
//! what to write. Guaranteed: however observations are ordered, repeated or cut into batches, the render ends in the same
//! state, with each transition once. A status only rises, and of everything else the maximum of a total order stays.
//!
//! What depends on the order by nature: `transitions` and the history of `credits` are in the order of learning; the kind
//! is the first observation's; of `error` and `canceled` the first stands, unless the details API says otherwise, which
//! is taken from it once; a file's key is fixed at its first attempt; and whether to poll is decided by what a batch
//! leaves open.

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
use super::{Move, Outcome, Recorded};
use crate::domain::{DownloadState, EventType, FileCounts, Kind, ObjectKey, RenderId, SignedUrl, Status, rank_of};

/// How many times one and the same request is kept, signed time and body alike: replaying a captured one fills no disk.
pub const KEPT_REPETITIONS: i32 = 64;
/// The code of the error that Magic Hour asks to be told of.
const UNKNOWN_ERROR: &str = "unknown_error";

/// A render as it is stored, as far as recording reads and writes it.
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
    /// Whether an event of this type was delivered about it.
    pub(super) fn has_seen(&self, event_type: &str) -> bool {
        self.seen_event_types.binary_search_by(|seen| seen.as_str().cmp(event_type)).is_ok()
    }
}

/// A change of a render's status, for its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) moved: Move,
    pub(super) source: Source,
    pub(super) event_type: Option<String>,
    pub(super) lag_ms: Option<i64>,
}

/// A change of a render's credits, for their history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CreditChange {
    pub(super) value: i64,
    pub(super) status: Option<Status>,
    pub(super) source: Source,
}

/// What observations of one render make of it.
#[derive(Debug, Clone)]
pub(super) struct Decision {
    /// The render afterwards.
    pub(super) render: StoredRender,
    /// Its changes of status, in order.
    pub(super) transitions: Vec<Transition>,
    /// Its changes of credits, in order.
    pub(super) credits: Vec<CreditChange>,
    /// Its downloads that are new or changed, by index.
    pub(super) downloads: BTreeMap<i32, Download>,
    /// What each observation did, in order.
    pub(super) recorded: Vec<Recorded>,
    /// Whether who waits for this render is to look again.
    pub(super) wakes_callers: bool,
    /// Whether there is work for the workers.
    pub(super) wakes_workers: bool,
    /// Whether there is something to ask Magic Hour now.
    pub(super) wakes_reconciler: bool,
}

/// What `observations` of one render, at least one, make of it. `stored` is the render as it is, and `None` if it is
/// new; `downloads` holds those of its downloads that the observations name and that are there.
///
/// # Panics
/// Without an observation.
pub(super) fn decide(
    stored: Option<&StoredRender>,
    mut downloads: BTreeMap<i32, Download>,
    observations: &[&Observation],
    now: DateTime<Utc>,
) -> Decision {
    let summary = polling::Summary::of(observations);
    let mut course = Course {
        render: stored.cloned().unwrap_or_else(|| new_render(observations[0], summary.first(now), now)),
        changed: stored.is_none(),
        transitions: Vec::new(),
        credits: Vec::new(),
        fresh: BTreeMap::new(),
    };
    let mut written = BTreeMap::new();
    let recorded: Vec<_> = observations.iter().map(|observation| course.take(observation)).collect();
    for observation in observations {
        course.take_files(observation, &mut downloads, &mut written, now);
    }
    if let Some(before) = stored {
        course.render.polling = summary.next(&before.polling, before.status, before.failure_confirmed, now);
        course.settle(before, now);
    }
    course.finish(recorded, written, now)
}

/// Whether the delivery of an event with this outcome is kept, if the same request was kept so many times before. News is
/// always kept.
pub(super) fn is_kept(outcome: Outcome, repetitions: i32) -> bool {
    match outcome {
        Outcome::Recorded => true,
        Outcome::Duplicate | Outcome::Late | Outcome::Unknown => repetitions < KEPT_REPETITIONS,
    }
}

/// A render that was unknown.
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

/// A render on its way through its observations.
struct Course {
    render: StoredRender,
    /// Whether anything that is answered has changed.
    changed: bool,
    transitions: Vec<Transition>,
    credits: Vec<CreditChange>,
    /// The downloads that are new or have another URL, and whether a worker may take them.
    fresh: BTreeMap<i32, bool>,
}

impl Course {
    /// Takes in everything of an observation but its files.
    fn take(&mut self, observation: &Observation) -> Recorded {
        let render = &mut self.render;
        let before = render.status;
        if before.is_none() && render.seen_event_types.is_empty() {
            // Until then nothing but an announcement has named its kind.
            render.kind = observation.kind.unwrap_or(render.kind);
        }
        let is_duplicate = self.is_duplicate(observation);
        let moved = self.take_status(observation);
        let had_unknown_error = self.render.fields.error_code() == Some(UNKNOWN_ERROR);
        let changes = self.render.fields.merge(observation.fields());
        self.changed |= changes.any;
        self.take_credits(observation, changes);
        let tells_unknown_error = changes.error == Merged::Changed
            && !had_unknown_error
            && self.render.fields.error_code() == Some(UNKNOWN_ERROR);
        let outcome = match moved {
            None if is_duplicate => Outcome::Duplicate,
            None if !observation.known => Outcome::Unknown,
            None if rank_of(observation.status) < rank_of(before) => Outcome::Late,
            Some(_) | None => Outcome::Recorded,
        };
        Recorded {
            outcome,
            moved,
            stood: before.filter(|before| before.is_failure()),
            tells_unknown_error,
            is_kept: true,
            news: false,
            queued: 0,
        }
    }

    /// Notes the event's type, and says whether it was seen before.
    fn is_duplicate(&mut self, observation: &Observation) -> bool {
        let Some(event_type) = observation.event_type.as_ref().map(EventType::as_str) else { return false };
        match self.render.seen_event_types.binary_search_by(|seen| seen.as_str().cmp(event_type)) {
            // What is read again was seen when it came.
            Ok(_) if observation.kept.is_some() => false,
            Ok(_) => true,
            Err(place) => {
                self.render.seen_event_types.insert(place, event_type.to_owned());
                false
            }
        }
    }

    fn take_status(&mut self, observation: &Observation) -> Option<Move> {
        let render = &mut self.render;
        let said = observation.status?;
        let to = match observation.source {
            Source::Poll if !render.failure_confirmed => Status::after_poll(render.status, said),
            Source::Poll | Source::Webhook => Status::after_webhook(render.status, said),
        };
        render.failure_confirmed |= observation.confirms_failure();
        let moved = Move { from: render.status, to: to? };
        render.status = to;
        self.changed = true;
        self.transitions.push(Transition {
            moved,
            source: observation.source,
            event_type: observation.event_type.as_ref().map(ToString::to_string),
            lag_ms: observation.lag_ms,
        });
        Some(moved)
    }

    fn take_credits(&mut self, observation: &Observation, changes: FieldChanges) {
        let Some(credits) = &self.render.fields.credits_charged else { return };
        if changes.credits == Merged::Changed {
            let (status, source) = (observation.status, observation.source);
            self.credits.push(CreditChange { value: credits.value, status, source });
        }
    }

    /// Takes in the files of an observation. `downloads` are all that are known, `written` those to write.
    fn take_files(
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
            count(&mut self.render.files, current, &next);
            downloads.insert(index, next.clone());
            written.insert(index, next);
        }
    }

    /// What follows for the marks of a render that was known before.
    fn settle(&mut self, before: &StoredRender, now: DateTime<Utc>) {
        // Any observation proves that Magic Hour knows it, and a transition that it is not stalled.
        self.render.not_found_at = None;
        if rank_of(self.render.status) > rank_of(before.status) {
            self.render.stalled_at = None;
        }
        if self.render.status.is_some_and(Status::is_finished) && !self.render.polling.wanted {
            // Silence is of no interest any more: a row that is not changed is not written.
            self.render.polling.last_seen_at = before.polling.last_seen_at;
        }
        if self.changed {
            self.render.updated_at = before.updated_at.max(now);
        }
    }

    fn finish(self, mut recorded: Vec<Recorded>, downloads: BTreeMap<i32, Download>, now: DateTime<Utc>) -> Decision {
        let news = self.changed || !self.fresh.is_empty();
        for it in &mut recorded {
            it.news = news;
            it.queued = i64::try_from(self.fresh.len()).unwrap_or(i64::MAX);
        }
        let polling = &self.render.polling;
        Decision {
            wakes_callers: news,
            wakes_workers: self.fresh.values().any(|&due| due),
            wakes_reconciler: polling.wanted && polling.due == PollDue::At(now),
            render: self.render,
            transitions: self.transitions,
            credits: self.credits,
            downloads,
            recorded,
        }
    }
}

/// Counts a download that changes from `current` to `next`.
fn count(files: &mut FileCounts, current: Option<&Download>, next: &Download) {
    let failed = |download: &Download| i32::from(download.state == DownloadState::Failed);
    files.total += i32::from(current.is_none());
    files.failed += failed(next) - current.map_or(0, failed);
}
