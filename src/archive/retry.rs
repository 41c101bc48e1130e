//! Retrying downloads when a person says so: failed ones go back in the queue, waiting ones are due at once.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use crate::archive::locked_renders::LockedRenders;
use crate::archive::queue::Reason;
use crate::domain::RenderId;
use crate::runtime::{BACKGROUND_TIMEOUT, Database, DatabaseError, Tallies, Wakeups, begin};

/// How many downloads one transaction puts back.
const CHUNK: i64 = 500;

/// In which state the downloads are that are retried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RetryState {
    /// They have failed. They get all their attempts again. One that came without a URL has nothing to try.
    #[default]
    Failed,
    /// They wait for their next attempt or for a fresh URL. They keep the attempts that they have left.
    Pending,
}

impl RetryState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Pending => "pending",
        }
    }
}

/// Which downloads are retried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetryFilter {
    /// Those of this render.
    pub render: Option<RenderId>,
    /// The one with this index in its render.
    pub index: Option<i32>,
    /// Those whose last attempt ended with this error.
    pub error_code: Option<String>,
    /// Those whose last attempt ended since then.
    pub since: Option<DateTime<Utc>>,
    /// Those in this state.
    pub state: RetryState,
}

impl RetryFilter {
    /// The failed ones of one render.
    #[must_use]
    pub fn render(id: RenderId) -> Self {
        Self { render: Some(id), ..Self::default() }
    }
}

/// A download that is retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetriedDownload {
    /// The render whose file it is.
    pub render_id: String,
    /// Which of its files.
    pub index: i32,
    /// The error of its last attempt, if one has ended.
    pub error: Option<Reason>,
}

/// The downloads that [`retry_downloads`] would retry.
pub async fn preview_retry(
    database: &Database,
    filter: &RetryFilter,
    now: DateTime<Utc>,
) -> Result<Vec<RetriedDownload>, DatabaseError> {
    let mut found = Vec::new();
    preview_each_retry(database, filter, now, |it| found.push(it.clone())).await?;
    Ok(found)
}

/// Makes downloads due at once. Returns those that were in that state until now.
pub async fn retry_downloads(
    database: &Database,
    filter: &RetryFilter,
    now: DateTime<Utc>,
) -> Result<Vec<RetriedDownload>, DatabaseError> {
    let mut retried = Vec::new();
    retry_each_download(database, filter, now, |it| retried.push(it.clone())).await?;
    Ok(retried)
}

/// Passes each download that [`retry_each_download`] would retry to `each`.
pub async fn preview_each_retry(
    database: &Database,
    filter: &RetryFilter,
    now: DateTime<Utc>,
    mut each: impl FnMut(&RetriedDownload),
) -> Result<(), DatabaseError> {
    let mut after = None;
    loop {
        let found = find(database, filter, now, after.as_ref()).await?;
        found.iter().for_each(&mut each);
        let Some(last) = found.into_iter().last() else { return Ok(()) };
        after = Some(last);
    }
}

/// Makes downloads due at once, and passes each that was in that state until now to `each`. However many there are, it holds
/// only some of them in memory.
pub async fn retry_each_download(
    database: &Database,
    filter: &RetryFilter,
    now: DateTime<Utc>,
    mut each: impl FnMut(&RetriedDownload),
) -> Result<(), DatabaseError> {
    let mut after = None;
    loop {
        let found = find(database, filter, now, after.as_ref()).await?;
        let chunk = || retry_chunk(database.pool(), filter.state, &found, now);
        if !found.is_empty() {
            database.with_timeout_and_retry(BACKGROUND_TIMEOUT, chunk).await?.iter().for_each(&mut each);
        }
        let Some(last) = found.into_iter().last() else { return Ok(()) };
        after = Some(last);
    }
}

/// The first downloads after `after`, in the order of render and index.
async fn find(
    database: &Database,
    filter: &RetryFilter,
    now: DateTime<Utc>,
    after: Option<&RetriedDownload>,
) -> Result<Vec<RetriedDownload>, DatabaseError> {
    let rows = sqlx::query!(
        "SELECT render_id, index, error_code, error_message
         FROM downloads
         WHERE state = $1 AND url IS NOT NULL AND (due_at IS NULL OR due_at > $2)
             AND ($3::text IS NULL OR render_id = $3) AND ($4::timestamptz IS NULL OR updated_at >= $4)
             AND ($5::int4 IS NULL OR index = $5) AND ($6::text IS NULL OR error_code = $6)
             AND (render_id, index) > ($7, $8)
         ORDER BY render_id, index
         LIMIT $9",
        filter.state.as_str(),
        now,
        filter.render.as_ref().map(RenderId::as_str),
        filter.since,
        filter.index,
        filter.error_code,
        after.map_or("", |it| it.render_id.as_str()),
        after.map_or(-1, |it| it.index),
        CHUNK,
    );
    let rows = database.with_timeout(BACKGROUND_TIMEOUT, rows.fetch_all(database.pool())).await?;
    let downloads = rows.into_iter().map(|row| RetriedDownload {
        render_id: row.render_id,
        index: row.index,
        error: row.error_code.zip(row.error_message).map(|(code, message)| Reason { code, message }),
    });
    Ok(downloads.collect())
}

async fn retry_chunk(
    pool: &PgPool,
    state: RetryState,
    found: &[RetriedDownload],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<RetriedDownload>> {
    let mut transaction = begin(pool, "BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    let ids: Vec<_> = found.iter().map(|download| download.render_id.as_str()).collect();
    let indexes: Vec<_> = found.iter().map(|download| download.index).collect();
    let mut renders = LockedRenders::lock(&mut transaction, &ids).await?;
    let updated = make_due(&mut transaction, state, (&ids, &indexes), now).await?;
    for (render_id, _) in &updated {
        if let (RetryState::Failed, Some(render)) = (state, renders.get_mut(render_id)) {
            render.files.failed -= 1;
        }
    }
    if !updated.is_empty() {
        sqlx::query!("SELECT pg_notify($1, '')", Wakeups::DOWNLOADS).execute(&mut *transaction).await?;
    }
    let mut tallies = Tallies::default();
    renders.write(&mut transaction, &mut tallies, now).await?;
    tallies.write(&mut transaction).await?;
    transaction.commit().await?;
    // Some may have been claimed or settled since they were found.
    let was_updated =
        |one: &&RetriedDownload| updated.iter().any(|(id, index)| *id == one.render_id && *index == one.index);
    Ok(found.iter().filter(was_updated).cloned().collect())
}

/// Makes the downloads with these render ids and indexes due, and returns those that were still in `state`.
async fn make_due(
    connection: &mut PgConnection,
    state: RetryState,
    (ids, indexes): (&[&str], &[i32]),
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(String, i32)>> {
    // OK to update in any order: the renders are locked, and claims skip what is locked.
    let updated = sqlx::query!(
        "UPDATE downloads AS d
         SET state = 'pending', due_at = $3, ready = true, updated_at = $3,
             attempts = CASE WHEN $5 THEN 0 ELSE attempts END,
             first_attempt_at = CASE WHEN $5 THEN NULL ELSE first_attempt_at END
         FROM unnest($1::text[], $2::int4[]) AS found (render_id, index)
         WHERE d.render_id = found.render_id AND d.index = found.index AND d.state = $4
         RETURNING d.render_id, d.index",
        ids as _,
        indexes,
        now,
        state.as_str(),
        state == RetryState::Failed,
    );
    let updated = updated.fetch_all(connection).await?;
    Ok(updated.into_iter().map(|row| (row.render_id, row.index)).collect())
}
