//! The queue of downloads: rows of `downloads`, claimed by a lease.
//!
//! A worker [`claim`]s what is due, works outside of any transaction, and settles with the [`Lease`] that it got.
//! Guaranteed: one lease at a time holds a download; a lease that ran out may be taken over; and only the holder of
//! the newest lease can settle or renew, because every settling statement matches the lease's token. What a worker
//! that lost its lease believes to know changes nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::domain::ObjectKey;
use crate::domain::RenderId;
use crate::domain::SignedUrl;
use crate::runtime::file_counts;

/// A claim to one download. It cannot be made elsewhere, and settling needs it.
#[derive(Debug)]
pub struct Lease {
    render_id: RenderId,
    index: i32,
    token: Uuid,
}

impl Lease {
    /// Whose file.
    #[must_use]
    pub fn render_id(&self) -> &RenderId {
        &self.render_id
    }

    /// Which of its files.
    #[must_use]
    pub fn index(&self) -> i32 {
        self.index
    }

    /// What distinguishes this claim from every other one to the same download.
    #[must_use]
    pub fn token(&self) -> Uuid {
        self.token
    }
}

/// A claimed download: what to fetch and where to.
#[derive(Debug)]
pub struct Claimed {
    /// The claim.
    pub lease: Lease,
    /// Where the file is.
    pub url: Result<SignedUrl, url::ParseError>,
    /// When that URL dies, where it was told.
    pub expires_at: Option<DateTime<Utc>>,
    /// Where the object goes.
    pub key: ObjectKey,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When the first one began.
    pub first_attempt_at: DateTime<Utc>,
    /// Whether another worker had it and let its lease run out.
    pub taken_over: bool,
}

/// The lease was lost: another worker has the download, or has settled it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease was lost to another worker")]
pub struct LeaseLost;

impl LeaseLost {
    pub(crate) fn unless(held: bool) -> Result<(), Self> {
        if held { Ok(()) } else { Err(Self) }
    }
}

/// How many downloads a worker may claim, and how its present ones are spread over servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// At most so many.
    pub limit: i64,
    /// At most so many of one server, those under way included: a slow one must not take every place.
    pub per_host: i64,
    /// Servers, and how many downloads of each are under way.
    pub under_way: Vec<(String, i64)>,
}

/// Claims downloads that are due at `now` as far as there is `room`, the ones that expire soonest first, for `lease`.
pub async fn claim(pool: &PgPool, now: DateTime<Utc>, lease: Duration, room: &Room) -> sqlx::Result<Vec<Claimed>> {
    let (hosts, counts): (Vec<_>, Vec<_>) = room.under_way.iter().cloned().unzip();
    let rows = sqlx::query!(
        r#"WITH host AS (
               SELECT DISTINCT host AS name FROM downloads WHERE due_at <= $1
           ),
           under_way AS (
               SELECT * FROM unnest($4::text[], $5::int8[]) AS under_way (name, count)
           ),
           due AS (
               SELECT file.*
               FROM host LEFT JOIN under_way USING (name)
               CROSS JOIN LATERAL (
                   SELECT render_id, index, state = 'downloading' AS taken_over
                   FROM downloads
                   WHERE due_at <= $1 AND downloads.host = host.name
                   ORDER BY expires_at NULLS LAST, due_at
                   LIMIT greatest($6 - coalesce(under_way.count, 0), 0)
                   FOR UPDATE SKIP LOCKED
               ) AS file
               JOIN downloads AS d USING (render_id, index)
               ORDER BY d.expires_at NULLS LAST, d.due_at
               LIMIT $2
           )
           UPDATE downloads AS d
           SET state = 'downloading', lease = gen_random_uuid(), due_at = $3, attempts = attempts + 1,
               first_attempt_at = coalesce(first_attempt_at, $1), updated_at = $1
           FROM due
           WHERE d.render_id = due.render_id AND d.index = due.index
           RETURNING d.render_id, d.index, d.lease AS "lease!", d.url AS "url!", d.expires_at, d.key, d.attempts,
               d.first_attempt_at AS "first_attempt_at!", due.taken_over AS "taken_over!""#,
        now,
        room.limit,
        now + lease,
        &hosts,
        &counts,
        room.per_host,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let render_id = row.render_id.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            Ok(Claimed {
                lease: Lease { render_id, index: row.index, token: row.lease },
                url: SignedUrl::parse(&row.url),
                expires_at: row.expires_at,
                key: ObjectKey::from_row(row.key),
                attempt: row.attempts.unsigned_abs(),
                first_attempt_at: row.first_attempt_at,
                taken_over: row.taken_over,
            })
        })
        .collect()
}

/// When the next download of another server than the `full` ones falls due, if one will.
pub async fn next_due(pool: &PgPool, full: &[String]) -> sqlx::Result<Option<DateTime<Utc>>> {
    let next = sqlx::query_scalar!(
        "SELECT min(due_at) FROM downloads WHERE due_at IS NOT NULL AND host <> ALL ($1::text[])",
        full,
    );
    next.fetch_one(pool).await
}

/// Keeps the lease until `until`.
pub async fn renew(pool: &PgPool, lease: &Lease, until: DateTime<Utc>) -> sqlx::Result<Result<(), LeaseLost>> {
    let renewed = sqlx::query!(
        "UPDATE downloads SET due_at = $4 WHERE render_id = $1 AND index = $2 AND lease = $3",
        lease.render_id.as_str(),
        lease.index,
        lease.token,
        until,
    );
    Ok(held(&renewed.execute(pool).await?))
}

/// What is known of an object that is in the store, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its media type, such as `video/mp4`.
    pub content_type: String,
    /// Its length.
    pub size_bytes: u64,
    /// The SHA-256 of all its bytes, in lower-case hex.
    pub sha256: String,
}

/// Settles a download as stored.
pub async fn stored(
    pool: &PgPool,
    lease: &Lease,
    object: &Stored,
    delete_wanted: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<Result<(), LeaseLost>> {
    let mut transaction = pool.begin().await?;
    file_counts::lock(&mut transaction, &[lease.render_id.as_str()]).await?;
    let settled = sqlx::query!(
        "WITH settled AS (
             UPDATE downloads
             SET state = 'stored', lease = NULL, due_at = NULL, error_code = NULL, error_message = NULL,
                 content_type = $4, size_bytes = $5, sha256 = $6, stored_at = $7, updated_at = $7,
                 delete_wanted = $8
             WHERE render_id = $1 AND index = $2 AND lease = $3
             RETURNING render_id, index
         ),
         gone AS (
             DELETE FROM checkpoints AS p USING settled AS s WHERE p.render_id = s.render_id AND p.index = s.index
         )
         SELECT pg_notify('renderhook_renders', render_id) FROM settled",
        lease.render_id.as_str(),
        lease.index,
        lease.token,
        object.content_type,
        i64::try_from(object.size_bytes).map_err(|error| sqlx::Error::Encode(Box::new(error)))?,
        object.sha256,
        now,
        delete_wanted,
    );
    let settled = settled.execute(&mut *transaction).await?;
    file_counts::recount(&mut transaction, &[lease.render_id.as_str()], None).await?;
    transaction.commit().await?;
    Ok(held(&settled))
}

/// Why an attempt failed: a stable word for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Such as `http_404` or `host_not_allowed`.
    pub code: String,
    /// What happened and what to do; never a URL's query.
    pub message: String,
}

/// Puts a download back in the queue until `due_at`.
pub async fn retry(
    pool: &PgPool,
    lease: &Lease,
    reason: &Reason,
    due_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<Result<(), LeaseLost>> {
    let settled = sqlx::query!(
        "UPDATE downloads
         SET state = 'pending', lease = NULL, due_at = $4, error_code = $5, error_message = $6, updated_at = $7
         WHERE render_id = $1 AND index = $2 AND lease = $3",
        lease.render_id.as_str(),
        lease.index,
        lease.token,
        due_at,
        reason.code,
        reason.message,
        now,
    );
    Ok(held(&settled.execute(pool).await?))
}

/// Settles a download as failed after so many attempts: nobody tries it again by itself.
pub async fn failed(
    pool: &PgPool,
    lease: &Lease,
    attempts: u32,
    reason: &Reason,
    now: DateTime<Utc>,
) -> sqlx::Result<Result<(), LeaseLost>> {
    let mut transaction = pool.begin().await?;
    file_counts::lock(&mut transaction, &[lease.render_id.as_str()]).await?;
    let settled = sqlx::query!(
        "WITH settled AS (
             UPDATE downloads
             SET state = 'failed', lease = NULL, due_at = NULL, error_code = $4, error_message = $5, updated_at = $6,
                 attempts = $7
             WHERE render_id = $1 AND index = $2 AND lease = $3
             RETURNING render_id
         )
         SELECT pg_notify('renderhook_renders', render_id) FROM settled",
        lease.render_id.as_str(),
        lease.index,
        lease.token,
        reason.code,
        reason.message,
        now,
        attempts.cast_signed(),
    );
    let settled = settled.execute(&mut *transaction).await?;
    file_counts::recount(&mut transaction, &[lease.render_id.as_str()], None).await?;
    transaction.commit().await?;
    Ok(held(&settled))
}

/// Gives a claim back unused, as a worker does that is told to stop: the attempt does not count, and another worker
/// may take it at once.
pub async fn release(pool: &PgPool, lease: &Lease, now: DateTime<Utc>) -> sqlx::Result<Result<(), LeaseLost>> {
    let released = sqlx::query!(
        "WITH released AS (
             UPDATE downloads
             SET state = 'pending', lease = NULL, due_at = $4, attempts = attempts - 1, updated_at = $4
             WHERE render_id = $1 AND index = $2 AND lease = $3
             RETURNING render_id
         )
         SELECT pg_notify('renderhook_downloads', '') FROM released",
        lease.render_id.as_str(),
        lease.index,
        lease.token,
        now,
    );
    Ok(held(&released.execute(pool).await?))
}

/// Every statement above names one row by its key and token: it touched that row, or the lease was lost.
fn held(done: &sqlx::postgres::PgQueryResult) -> Result<(), LeaseLost> {
    LeaseLost::unless(done.rows_affected() == 1)
}
