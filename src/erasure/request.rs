//! The transaction that begins an erasure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgTransaction;
use tracing::info;

use crate::domain::{DownloadState, FileCounts, RenderId};
use crate::runtime::{Database, DatabaseError, LogEvent, REQUEST_TIMEOUT, Tallies, begin};
use crate::upstream::DeletionOutcome;

/// How long after the end of its lease a worker's last request to the store may still create an object: longer than any
/// request and its retries last.
pub const SWEEP_DELAY: Duration = Duration::from_mins(10);

/// The error code of the downloads of a render that is being erased.
pub const ERASED_DOWNLOAD: &str = "erased";

/// What requested an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasureSource {
    /// An application, by `DELETE /renders/{id}`. The log line has the id of the request.
    Api,
    /// An operator, on the page of the render.
    Ui,
    /// `FILE_RETENTION`.
    Retention,
}

impl ErasureSource {
    /// The name in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Ui => "ui",
            Self::Retention => "retention",
        }
    }
}

/// How far an erasure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasureProgress {
    /// It is under way.
    Running,
    /// It is done.
    Done {
        /// Since when.
        erased_at: DateTime<Utc>,
    },
}

/// A render, as far as its erasure depends on it.
struct RenderToErase {
    files: FileCounts,
    erased_at: Option<DateTime<Utc>>,
    is_requested: bool,
    /// Whether the project is deleted at Magic Hour, or cannot be.
    is_project_settled: bool,
}

/// Requests the erasure of a render, and of its project at Magic Hour if `upstream`. Returns how far it is, or `None` if the
/// render is unknown. May be repeated; a repetition can add `upstream`.
pub async fn request_erasure(
    database: &Database,
    id: &RenderId,
    upstream: bool,
    source: ErasureSource,
    now: DateTime<Utc>,
) -> Result<Option<ErasureProgress>, DatabaseError> {
    let requested =
        database.with_timeout_and_retry(REQUEST_TIMEOUT, || Box::pin(request(database, id, upstream, now))).await?;
    if let Some((_, true)) = requested {
        info!(
            event = %LogEvent::ErasureRequested, render.id = %id, source = source.as_str(), upstream,
            "a render is being erased"
        );
    }
    Ok(requested.map(|(progress, _)| progress))
}

/// Returns the progress, and whether this request has changed anything.
async fn request(
    database: &Database,
    id: &RenderId,
    upstream: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<(ErasureProgress, bool)>> {
    let mut transaction = begin(database.pool(), "BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    let Some(render) = lock(&mut transaction, id).await? else { return Ok(None) };
    let upstream = upstream && !render.is_project_settled;
    let job = sqlx::query_scalar!("SELECT upstream FROM erasures WHERE render_id = $1 FOR UPDATE", id.as_str());
    let job = job.fetch_optional(&mut *transaction).await?;
    let progress = match (render.erased_at, job) {
        (Some(erased_at), None) if !upstream => return Ok(Some((ErasureProgress::Done { erased_at }, false))),
        (_, Some(true)) => return Ok(Some((ErasureProgress::Running, false))),
        (_, Some(false)) if !upstream => return Ok(Some((ErasureProgress::Running, false))),
        (_, None | Some(false)) => ErasureProgress::Running,
    };
    let sweep_at = if render.is_requested { None } else { Some(erase(&mut transaction, id, &render, now).await?) };
    let written = sqlx::query!(
        "INSERT INTO erasures AS e (render_id, upstream, sweep_at, due_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (render_id) DO UPDATE SET upstream = e.upstream OR excluded.upstream, due_at = excluded.due_at",
        id.as_str(),
        upstream,
        sweep_at.flatten(),
        now,
    );
    written.execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Some((progress, true)))
}

async fn lock(transaction: &mut PgTransaction<'_>, id: &RenderId) -> sqlx::Result<Option<RenderToErase>> {
    let row = sqlx::query!(
        r#"SELECT files_total, files_stored, files_failed, erased_at, deletion,
               erasure_requested_at IS NOT NULL AS "is_requested!"
           FROM renders WHERE id = $1 FOR UPDATE"#,
        id.as_str(),
    );
    Ok(row.fetch_optional(&mut **transaction).await?.map(|row| RenderToErase {
        files: FileCounts { total: row.files_total, stored: row.files_stored, failed: row.files_failed, missing: 0 },
        erased_at: row.erased_at,
        is_requested: row.is_requested,
        is_project_settled: DeletionOutcome::ALL.into_iter().any(|outcome| match outcome {
            DeletionOutcome::Deleted | DeletionOutcome::Refused => row.deletion.as_deref() == Some(outcome.as_str()),
            DeletionOutcome::Unproven => false,
        }),
    }))
}

/// Removes everything that describes the render, and returns until when a worker may still write an object, if one may.
async fn erase(
    transaction: &mut PgTransaction<'_>,
    id: &RenderId,
    render: &RenderToErase,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let sweep_at = take_leases(transaction, id, now).await?;
    erase_render(transaction, id, now).await?;
    let bodies =
        sqlx::query!("UPDATE deliveries SET body = NULL WHERE render_id = $1 AND body IS NOT NULL", id.as_str());
    bodies.execute(&mut **transaction).await?;
    // What a receiver answered may quote what it was sent.
    let errors =
        sqlx::query!("UPDATE notifications SET error = NULL WHERE render_id = $1 AND error IS NOT NULL", id.as_str());
    errors.execute(&mut **transaction).await?;
    let mut tallies = Tallies::default();
    tallies.add_files(render.files, FileCounts::default());
    tallies.write(transaction).await?;
    Ok(sweep_at)
}

/// Makes the downloads fail, so that no worker claims, continues, or settles one. Their keys and checkpoints stay.
async fn take_leases(
    transaction: &mut PgTransaction<'_>,
    id: &RenderId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let rows = sqlx::query!(
        "SELECT state, due_at FROM downloads WHERE render_id = $1 ORDER BY index FOR UPDATE",
        id.as_str(),
    );
    let leases_end = rows
        .fetch_all(&mut **transaction)
        .await?
        .into_iter()
        .filter(|row| row.state == DownloadState::Downloading.as_str())
        .filter_map(|row| row.due_at)
        .max();
    let failed = sqlx::query!(
        "UPDATE downloads
         SET state = 'failed', lease = NULL, due_at = NULL, url = NULL, host = '', expires_at = NULL,
             error_code = $3, error_message = 'the render is being erased', content_type = NULL, size_bytes = NULL,
             sha256 = NULL, stored_at = NULL, delete_after_store = false, updated_at = $2
         WHERE render_id = $1",
        id.as_str(),
        now,
        ERASED_DOWNLOAD,
    );
    failed.execute(&mut **transaction).await?;
    Ok(leases_end.map(|end| end.max(now) + SWEEP_DELAY))
}

/// Reduces the row to a tombstone: the kind, the status, the credits, and times.
async fn erase_render(transaction: &mut PgTransaction<'_>, id: &RenderId, now: DateTime<Utc>) -> sqlx::Result<()> {
    let erased = sqlx::query!(
        "UPDATE renders
         SET erasure_requested_at = $2, updated_at = greatest(updated_at, $2), name = NULL, project_type = NULL,
             error_code = NULL, error_message = NULL, external_id = NULL, external_id_origin = NULL, metadata = '{}',
             width = NULL, height = NULL, fps = NULL, start_seconds = NULL, end_seconds = NULL, image_count = NULL,
             shortage_confirmed = false, field_versions = '{}', archive = 'none', files_total = 0, files_stored = 0,
             files_failed = 0, poll_requested = false, poll_due_at = 'infinity', poll_claimed_until = NULL,
             not_found_at = NULL, stalled_at = NULL, deletion_due_at = NULL
         WHERE id = $1",
        id.as_str(),
        now,
    );
    erased.execute(&mut **transaction).await.map(drop)
}
