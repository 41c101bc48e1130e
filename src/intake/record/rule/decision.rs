//! What the rule reads and what it decides.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::fields::Fields;
use super::files::Download;
use super::polling::Polling;
use crate::domain::{ExternalIdOrigin, FileCounts, Kind, Progress, RenderId, Status};
use crate::intake::record::{Recorded, Source, StatusChange};

/// The part of a render that recording reads and writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::intake::record) struct StoredRender {
    pub(in crate::intake::record) id: RenderId,
    pub(in crate::intake::record) kind: Kind,
    pub(in crate::intake::record) status: Option<Status>,
    pub(in crate::intake::record) failure_confirmed: bool,
    /// Sorted.
    pub(in crate::intake::record) seen_event_types: Vec<String>,
    pub(in crate::intake::record) fields: Fields,
    pub(in crate::intake::record) files: FileCounts,
    /// Whether Magic Hour was asked for the files that are missing, and has no more.
    pub(in crate::intake::record) shortage_confirmed: bool,
    /// Whether it is being erased, or is. Then nothing about it is recorded.
    pub(in crate::intake::record) erased: bool,
    pub(in crate::intake::record) external_id: Option<String>,
    pub(in crate::intake::record) external_id_origin: Option<ExternalIdOrigin>,
    pub(in crate::intake::record) polling: Polling,
    pub(in crate::intake::record) first_seen_at: DateTime<Utc>,
    pub(in crate::intake::record) updated_at: DateTime<Utc>,
    pub(in crate::intake::record) not_found_at: Option<DateTime<Utc>>,
    pub(in crate::intake::record) stalled_at: Option<DateTime<Utc>>,
}

impl StoredRender {
    /// Whether the application has set or removed the external id.
    pub(super) fn has_external_id_of_application(&self) -> bool {
        match self.external_id_origin {
            Some(ExternalIdOrigin::Application) => true,
            Some(ExternalIdOrigin::Name) => false,
            None => self.external_id.is_some(),
        }
    }

    /// How far it is.
    pub(in crate::intake::record) fn progress(&self) -> Progress {
        Progress { status: self.status, files: self.files, shortage_confirmed: self.shortage_confirmed }
    }

    /// Whether it is complete with fewer files than announced, and Magic Hour was not asked yet.
    pub(super) fn has_open_shortage(&self) -> bool {
        self.status == Some(Status::Complete) && self.files.missing > 0 && !self.shortage_confirmed
    }

    /// Whether an event of this type was delivered before.
    pub(in crate::intake::record) fn has_seen(&self, event_type: &str) -> bool {
        self.seen_event_types.binary_search_by(|seen| seen.as_str().cmp(event_type)).is_ok()
    }
}

/// A status change for the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::intake::record) struct Transition {
    pub(in crate::intake::record) change: StatusChange,
    pub(in crate::intake::record) source: Source,
    pub(in crate::intake::record) event_type: Option<String>,
    pub(in crate::intake::record) lag_ms: Option<i64>,
}

/// A change of the credits for the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::intake::record) struct CreditChange {
    pub(in crate::intake::record) value: i64,
    pub(in crate::intake::record) status: Option<Status>,
    pub(in crate::intake::record) source: Source,
}

/// What to write for one render.
#[derive(Debug, Clone)]
pub(in crate::intake::record) struct Decision {
    /// The new state of the render.
    pub(in crate::intake::record) render: StoredRender,
    /// The status changes, in order.
    pub(in crate::intake::record) transitions: Vec<Transition>,
    /// The changes of credits, in order.
    pub(in crate::intake::record) credits: Vec<CreditChange>,
    /// The new and changed downloads, by index.
    pub(in crate::intake::record) downloads: BTreeMap<i32, Download>,
    /// The result for each observation, in order.
    pub(in crate::intake::record) recorded: Vec<Recorded>,
    /// Whether to wake the download workers.
    pub(in crate::intake::record) wakes_workers: bool,
    /// Whether to wake the reconciler.
    pub(in crate::intake::record) wakes_reconciler: bool,
}
