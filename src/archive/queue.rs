//! The queue of downloads: rows of `downloads`, claimed by a lease.
//!
//! A worker [`claim`]s what is due, works outside of any transaction, and settles with the [`Lease`] that it got.
//! Guaranteed: one lease at a time holds a download; a lease that has expired can be taken over; and only the holder of
//! the newest lease can renew or settle, because every such statement matches the lease's token. A worker that lost its
//! lease changes nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::archive::backoff::LONGEST_WAIT;
use crate::domain::ObjectKey;
use crate::domain::RenderId;
use crate::domain::SignedUrl;
use crate::runtime::{BACKGROUND_TIMEOUT, Database, DatabaseError};

/// A claim to one download. Only [`claim`] makes one, and settling needs it.
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

/// Why something that needs a lease was not done.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another worker has the download, or it is settled.
    #[error("the lease was lost to another worker")]
    Lost,
    /// Nothing is known about the lease.
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
pub struct Claimed {
    /// The claim.
    pub lease: Lease,
    /// Where the file is.
    pub url: Result<SignedUrl, url::ParseError>,
    /// When that URL expires, if Magic Hour said so.
    pub expires_at: Option<DateTime<Utc>>,
    /// Where the object goes.
    pub key: ObjectKey,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When the first one began.
    pub first_attempt_at: DateTime<Utc>,
    /// Whether another worker had it and let its lease expire.
    pub taken_over: bool,
    /// Whether no worker ever had it: then there is nothing of it in the store.
    pub untouched: bool,
}

/// How many downloads a worker may claim, given those that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capacity {
    /// At most so many.
    pub limit: i64,
    /// At most so many of one host, those in progress included: a slow one must not take every place.
    pub per_host: i64,
    /// Hosts, and how many downloads of each are in progress.
    pub in_progress: Vec<(String, i64)>,
}

/// Claims downloads that are due at `now` for `lease`, as many as `capacity` allows. Those whose URLs expire first go
/// first.
pub async fn claim(
    database: &Database,
    now: DateTime<Utc>,
    lease: Duration,
    capacity: &Capacity,
) -> Result<Vec<Claimed>, DatabaseError> {
    let (hosts, counts): (Vec<_>, Vec<_>) = capacity.in_progress.iter().cloned().unzip();
    // No clock that is right schedules anything later than this.
    let too_late = now + lease.max(LONGEST_WAIT);
    let rows = sqlx::query!(
        r#"WITH host AS (
               SELECT DISTINCT host AS name FROM downloads WHERE due_at <= $1 OR due_at > $7
           ),
           in_progress AS (
               SELECT * FROM unnest($4::text[], $5::int8[]) AS in_progress (name, count)
           ),
           due AS (
               SELECT file.*
               FROM host LEFT JOIN in_progress USING (name)
               CROSS JOIN LATERAL (
                   SELECT render_id, index, expires_at, due_at, state = 'downloading' AS taken_over,
                       first_attempt_at IS NULL AS first
                   FROM downloads
                   WHERE (due_at <= $1 OR due_at > $7) AND downloads.host = host.name
                   ORDER BY expires_at NULLS LAST, due_at
                   LIMIT greatest($6 - coalesce(in_progress.count, 0), 0)
                   FOR UPDATE SKIP LOCKED
               ) AS file
               ORDER BY expires_at NULLS LAST, due_at
               LIMIT $2
           )
           UPDATE downloads AS d
           SET state = 'downloading', lease = gen_random_uuid(), due_at = $3, attempts = attempts + 1,
               first_attempt_at = coalesce(first_attempt_at, $1), updated_at = $1
           FROM due
           WHERE d.render_id = due.render_id AND d.index = due.index
           RETURNING d.render_id, d.index, d.lease AS "lease!", d.url AS "url!", d.expires_at, d.key, d.attempts,
               d.first_attempt_at AS "first_attempt_at!", due.taken_over AS "taken_over!",
               due.first AND NOT EXISTS (
                   SELECT FROM checkpoints AS c WHERE c.render_id = d.render_id AND c.index = d.index
               ) AS "untouched!""#,
        now,
        capacity.limit,
        now + lease,
        &hosts,
        &counts,
        capacity.per_host,
        too_late,
    );
    let rows = database.with_timeout(BACKGROUND_TIMEOUT, rows.fetch_all(database.pool())).await?;
    let claimed = rows.into_iter().filter_map(|row| {
        // OK because every id was parsed before it was recorded.
        let render_id = row.render_id.parse().ok()?;
        Some(Claimed {
            lease: Lease { render_id, index: row.index, token: row.lease },
            url: SignedUrl::parse(&row.url),
            expires_at: row.expires_at,
            key: ObjectKey::from_row(row.key),
            attempt: row.attempts.unsigned_abs(),
            first_attempt_at: row.first_attempt_at,
            taken_over: row.taken_over,
            untouched: row.untouched,
        })
    });
    Ok(claimed.collect())
}

/// When the next download falls due of a host that is not one of `full`.
pub async fn next_due(database: &Database, full: &[String]) -> Result<Option<DateTime<Utc>>, DatabaseError> {
    let next = sqlx::query_scalar!(
        "SELECT min(due_at) FROM downloads WHERE due_at IS NOT NULL AND host <> ALL ($1::text[])",
        full,
    );
    database.with_timeout(BACKGROUND_TIMEOUT, next.fetch_one(database.pool())).await
}

/// Extends the lease until `until`.
pub async fn renew(database: &Database, lease: &Lease, until: DateTime<Utc>) -> Result<(), LeaseError> {
    let renewed = sqlx::query!(
        "UPDATE downloads SET due_at = $4 WHERE render_id = $1 AND index = $2 AND lease = $3",
        lease.render_id.as_str(),
        lease.index,
        lease.token,
        until,
    );
    let renewed = database.with_timeout(BACKGROUND_TIMEOUT, renewed.execute(database.pool())).await?;
    LeaseError::unless(renewed.rows_affected() == 1)
}

/// What is known about an object that is in the store, whole.
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
