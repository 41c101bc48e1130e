//! The queue of downloads: rows of `downloads`, claimed by a lease.
//!
//! A worker [claims](claim_downloads) what is due, works outside of any transaction, and settles with the [`Lease`] that it got.
//! Guaranteed: one lease at a time holds a download; a lease that has expired can be taken over; and only the holder of
//! the newest lease can renew or settle, because every such statement matches the lease's token. A worker that lost its
//! lease changes nothing.

mod claim;

use chrono::{DateTime, Utc};
use tracing::{Span, error_span};
use uuid::Uuid;

pub use self::claim::claim_downloads;
use crate::domain::{ObjectKey, RenderId, SignedUrl};
use crate::runtime::{BACKGROUND_TIMEOUT, Database, DatabaseError};

/// A claim to one download. Only [`claim_downloads`] makes one, and settling needs it.
#[derive(Debug)]
pub struct Lease {
    render_id: RenderId,
    index: i32,
    token: Uuid,
}

impl Lease {
    /// The render whose file it is.
    #[must_use]
    pub fn render_id(&self) -> &RenderId {
        &self.render_id
    }

    /// Which of its files.
    #[must_use]
    pub fn index(&self) -> i32 {
        self.index
    }

    /// Distinguishes this claim from every other one to the same download.
    #[must_use]
    pub fn token(&self) -> Uuid {
        self.token
    }
}

/// Why an operation that needs a lease failed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another worker has the download, or it is settled.
    #[error("the lease was lost to another worker")]
    Lost,
    /// The state of the lease is unknown.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl LeaseError {
    pub(super) fn unless(held: bool) -> Result<(), Self> {
        if held { Ok(()) } else { Err(Self::Lost) }
    }
}

/// A claimed download: what to fetch and where to put it.
#[derive(Debug)]
pub struct ClaimedDownload {
    /// The claim.
    pub lease: Lease,
    /// Where the file is.
    pub url: Result<SignedUrl, url::ParseError>,
    /// When that URL expires, if Magic Hour reported it.
    pub expires_at: Option<DateTime<Utc>>,
    /// Where the object goes.
    pub key: ObjectKey,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When the first one began.
    pub first_attempt_at: DateTime<Utc>,
    /// Whether the lease of another worker expired.
    pub taken_over: bool,
    /// Whether no worker claimed it before, so that there is no checkpoint.
    pub is_untouched: bool,
}

impl ClaimedDownload {
    /// The span of the attempt: what is logged in it carries these ids.
    pub(super) fn span(&self) -> Span {
        let Self { lease, attempt, .. } = self;
        error_span!("download", render.id = %lease.render_id, download.index = lease.index, attempt)
    }
}

/// How many downloads a worker may claim, given those that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capacity {
    /// The maximum number.
    pub limit: i64,
    /// The maximum number for one host, including those in progress: a slow host must not take every place.
    pub per_host: i64,
    /// Hosts, and how many downloads of each are in progress.
    pub in_progress: Vec<(String, i64)>,
}

/// When the next waiting download of a host that is not in `full` falls due.
pub async fn next_due_download(database: &Database, full: &[String]) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    let next = sqlx::query_scalar!(
        "SELECT min(due_at) FROM downloads WHERE NOT ready AND due_at IS NOT NULL AND host <> ALL ($1::text[])",
        full,
    );
    database.with_timeout(BACKGROUND_TIMEOUT, next.fetch_one(database.pool())).await
}

/// Extends the lease until `until`.
pub async fn renew_lease(database: &Database, lease: &Lease, until: DateTime<Utc>) -> Result<(), LeaseError> {
    let renewed = sqlx::query!(
        "UPDATE downloads SET due_at = $4, ready = false WHERE render_id = $1 AND index = $2 AND lease = $3",
        lease.render_id.as_str(),
        lease.index,
        lease.token,
        until,
    );
    let renewed = database.with_timeout(BACKGROUND_TIMEOUT, renewed.execute(database.pool())).await?;
    LeaseError::unless(renewed.rows_affected() == 1)
}

/// Saves how far a transfer is. Without the lease, nothing changes.
pub(super) async fn save_progress(
    database: &Database,
    lease: &Lease,
    bytes_done: u64,
    bytes_total: Option<u64>,
) -> Result<(), DatabaseError> {
    let saved = sqlx::query!(
        "UPDATE downloads SET bytes_done = $4, bytes_total = $5 WHERE render_id = $1 AND index = $2 AND lease = $3",
        lease.render_id.as_str(),
        lease.index,
        lease.token,
        bytes_done.cast_signed(),
        bytes_total.map(u64::cast_signed),
    );
    database.with_timeout(BACKGROUND_TIMEOUT, saved.execute(database.pool())).await.map(drop)
}

/// The metadata of a stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Its media type, such as `video/mp4`.
    pub content_type: String,
    /// Its length.
    pub size_bytes: u64,
    /// The SHA-256 of all its bytes, in lower-case hex.
    pub sha256: String,
}

/// Why an attempt failed: a stable code for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Such as `http_404` or `host_not_allowed`.
    pub code: String,
    /// What happened and what to do; never a URL's query.
    pub message: String,
}
