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
//! - A shortage of files is confirmed by a poll that finds it, so not by one before it was known.

mod decision;
mod fields;
mod files;
mod polling;
mod render_update;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

pub(super) use self::decision::{CreditChange, Decision, StoredRender, Transition};
pub(super) use self::fields::{Field, Fields, UnknownVersions, Version, Versioned};
pub(super) use self::files::{Download, FileSource};
pub(super) use self::polling::{PollDue, Polling};
use self::render_update::RenderUpdate;
use super::observation::Observation;
use super::{RecordOutcome, RecordRules};
use crate::domain::{FileCounts, Kind};

/// The maximum number of stored deliveries with the same timestamp and body, so that repeating a captured request cannot fill
/// the disk.
pub const MAX_STORED_REPETITIONS: i32 = 64;

/// Decides how `observations` change their render. `stored` is the render, or `None` if it is new. `downloads` contains those
/// of its downloads that exist and are part of the observations.
///
/// # Panics
/// Panics if `observations` is empty.
pub(super) fn decide(
    stored: Option<&StoredRender>,
    mut downloads: BTreeMap<i32, Download>,
    observations: &[&Observation],
    rules: &RecordRules,
    now: DateTime<Utc>,
) -> Decision {
    let summary = polling::Summary::of(observations);
    let mut update = RenderUpdate {
        render: stored.cloned().unwrap_or_else(|| new_render(observations[0], now)),
        changed: stored.is_none(),
        transitions: Vec::new(),
        credits: Vec::new(),
        fresh: BTreeMap::new(),
        shortage_began: false,
        rejected_external_id: None,
    };
    let mut written = BTreeMap::new();
    let recorded: Vec<_> = observations.iter().map(|observation| update.apply(observation)).collect();
    for observation in observations {
        update.apply_files(observation, &mut downloads, &mut written, now);
    }
    update.apply_shortage(observations, rules);
    update.apply_name(rules);
    let lacks_files = update.render.has_open_shortage() && !stored.is_some_and(StoredRender::has_open_shortage);
    update.render.polling = match stored {
        None => summary.first(lacks_files, now),
        Some(before) => summary.next(before, lacks_files, now),
    };
    if let Some(before) = stored {
        update.set_timestamps(before, now);
    }
    update.finish(recorded, written, now)
}

/// Whether to store the delivery of an event with this outcome, if the same request is already stored `repetitions` times. New
/// events are always stored.
pub(super) fn stores_delivery(outcome: RecordOutcome, repetitions: i32) -> bool {
    match outcome {
        RecordOutcome::Recorded => true,
        RecordOutcome::Erased => false,
        RecordOutcome::Duplicate | RecordOutcome::Late | RecordOutcome::Unknown => repetitions < MAX_STORED_REPETITIONS,
    }
}

/// A new render, before any observation is applied.
fn new_render(first: &Observation, now: DateTime<Utc>) -> StoredRender {
    StoredRender {
        id: first.render_id.clone(),
        kind: first.kind.unwrap_or(Kind::Video),
        status: None,
        failure_confirmed: false,
        seen_event_types: Vec::new(),
        fields: Fields::default(),
        files: FileCounts::default(),
        shortage_confirmed: false,
        erased: false,
        external_id: None,
        external_id_origin: None,
        polling: Polling { requested: false, due: PollDue::AfterSilence, attempts: 0, last_seen_at: now },
        first_seen_at: now,
        updated_at: now,
        not_found_at: None,
        stalled_at: None,
    }
}
