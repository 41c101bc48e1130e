//! A render while observations are applied to it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::decision::{CreditChange, Decision, StoredRender, Transition};
use super::fields::{FieldChanges, Fields, Merged};
use super::files::{self, Download, FileChange, FileSource};
use super::polling::PollDue;
use crate::domain::{
    DownloadState, EventType, ExternalIdOrigin, FileCounts, InvalidExternalId, Nullable, ObjectKey, OutputField,
    SignedUrl, Status, rank_of,
};
use crate::intake::record::{Observation, RecordOutcome, RecordRules, Recorded, Source, StatusChange};

/// The error code that Magic Hour asks to be informed about.
const UNKNOWN_ERROR: &str = "unknown_error";

/// The state of a render while observations are applied.
pub(super) struct RenderUpdate {
    pub(super) render: StoredRender,
    /// Whether anything in the API answer has changed.
    pub(super) changed: bool,
    pub(super) transitions: Vec<Transition>,
    pub(super) credits: Vec<CreditChange>,
    /// The downloads that are new or have a different URL, and whether they are pending.
    pub(super) fresh: BTreeMap<i32, bool>,
    /// Whether it is now known that fewer files came than announced, and that there are no more.
    pub(super) shortage_began: bool,
    /// Set if what the pattern finds in the name cannot be an external id.
    pub(super) rejected_external_id: Option<InvalidExternalId>,
}

impl RenderUpdate {
    /// Applies an observation, except for its files.
    pub(super) fn apply(&mut self, observation: &Observation) -> Recorded {
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
            render_duration: self.duration(transition, observation.observed_at),
            previous_failure: before.filter(|before| before.is_failure()),
            is_first_unknown_error,
            store_delivery: true,
            changed: false,
            queued: 0,
            missing_files: 0,
            rejected_external_id: None,
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

    /// How long the render took, if it is complete with this transition.
    fn duration(&self, transition: Option<StatusChange>, observed_at: DateTime<Utc>) -> Option<TimeDelta> {
        let began_at = self.render.fields.created_at.as_ref().map_or(self.render.first_seen_at, |it| it.value);
        transition.filter(|change| change.to == Status::Complete).map(|_| observed_at - began_at)
    }

    fn record_credits(&mut self, observation: &Observation, changes: FieldChanges) {
        let Some(credits) = &self.render.fields.credits_charged else { return };
        if changes.credits == Merged::Changed {
            let (status, source) = (observation.status, observation.source);
            self.credits.push(CreditChange { value: credits.value, status, source });
        }
    }

    /// Applies the files of an observation to `downloads`, and adds changed ones to `written`.
    pub(super) fn apply_files(
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

    /// Compares the files with `image_count`, and confirms a shortage if Magic Hour has just been asked.
    pub(super) fn apply_shortage(&mut self, observations: &[&Observation], rules: &RecordRules) {
        let render = &mut self.render;
        let was_confirmed = render.shortage_confirmed;
        render.files = render.files.with_announced(render.kind, render.fields.integer(OutputField::ImageCount));
        let is_answered = |it: &&Observation| it.source == Source::Poll && it.status == Some(Status::Complete);
        let is_confirmed = was_confirmed || rules.webhooks_only || observations.iter().any(is_answered);
        let is_short = render.status == Some(Status::Complete) && render.files.missing > 0;
        render.shortage_confirmed = is_short && is_confirmed;
        self.changed |= render.shortage_confirmed != was_confirmed;
        self.shortage_began = render.shortage_confirmed && !was_confirmed;
    }

    /// Takes the external id from the newest name, unless the application has set it. So it does not depend on the order.
    pub(super) fn apply_name(&mut self, rules: &RecordRules) {
        let Some(pattern) = &rules.external_ids else { return };
        let Some(name) = self.render.fields.name.as_ref().filter(|_| !self.render.has_external_id_of_application())
        else {
            return;
        };
        let found = match &name.value {
            Nullable::Value(name) => pattern.find(name).transpose(),
            Nullable::Null => Ok(None),
        };
        self.rejected_external_id = found.as_ref().err().copied();
        let external_id = found.ok().flatten().map(|id| id.as_str().to_owned());
        self.changed |= self.render.external_id != external_id;
        self.render.external_id_origin = external_id.as_ref().map(|_| ExternalIdOrigin::Name);
        self.render.external_id = external_id;
    }

    /// Sets the timestamps of a render that was known before.
    pub(super) fn set_timestamps(&mut self, before: &StoredRender, now: DateTime<Utc>) {
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

    pub(super) fn finish(
        self,
        mut recorded: Vec<Recorded>,
        downloads: BTreeMap<i32, Download>,
        now: DateTime<Utc>,
    ) -> Decision {
        let changed = self.changed || !self.fresh.is_empty();
        for it in &mut recorded {
            it.changed = changed;
            it.queued = i64::try_from(self.fresh.len()).unwrap_or(i64::MAX);
        }
        if let Some(last) = recorded.last_mut() {
            last.rejected_external_id = self.rejected_external_id;
            last.missing_files = self.render.files.missing.unsigned_abs() * u32::from(self.shortage_began);
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
