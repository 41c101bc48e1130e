//! What a worker reports about an attempt.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::archive::fetch::Failure;
use crate::archive::queue::{Lease, StoredObject};
use crate::domain::SignedUrl;

/// The outcome of an attempt.
#[derive(Debug, Clone)]
pub enum AttemptOutcome {
    /// The store has the complete object.
    Stored(StoredObject),
    /// It failed.
    Failed(Failure),
    /// It did not start, because the URL has expired or is about to.
    UrlExpiring,
    /// It did not start, because all attempts were used up by expired leases.
    LeasesExpired,
    /// A stop interrupted it.
    Interrupted,
}

/// A finished attempt and its settings.
#[derive(Debug, Clone)]
pub struct AttemptReport {
    /// The outcome.
    pub outcome: AttemptOutcome,
    /// The number of the attempt, from 1.
    pub number: u32,
    /// When the first attempt began.
    pub first_at: DateTime<Utc>,
    /// The URL it used.
    pub url: Option<SignedUrl>,
    /// The maximum number of attempts.
    pub max_attempts: u32,
    /// Whether fresh URLs are available, which requires an API key.
    pub renews: bool,
    /// Whether to delete the project at Magic Hour once all files are stored.
    pub deletes: bool,
    /// The jitter of the backoff, from 0 to 1.
    pub chance: f64,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
}

/// An attempt and its lease.
#[derive(Debug)]
pub(super) struct LeasedAttempt {
    pub(super) render_id: String,
    pub(super) index: i32,
    pub(super) token: Uuid,
    pub(super) attempt: AttemptReport,
}

impl LeasedAttempt {
    pub(super) fn new(lease: &Lease, attempt: AttemptReport) -> Self {
        Self { render_id: lease.render_id().to_string(), index: lease.index(), token: lease.token(), attempt }
    }
}
