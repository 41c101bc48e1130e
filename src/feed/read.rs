//! Reading the feed, a page at a time.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::cursor::{FeedCursor, FeedId};
use crate::domain::{Notification, NotificationType, RenderId};
use crate::runtime::{Tallies, Tally, begin};

/// How many rows one statement reads at most. The first reads one more than is wanted, to know whether that is all; a page
/// of rare types takes several.
const CHUNK: usize = 1_000;
/// How many statements a page takes at most. A page that is shorter than its limit still has a cursor that advances.
const CHUNKS: usize = 20;

/// Which notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedFilter {
    /// Of these types.
    pub types: Vec<NotificationType>,
    /// About this render; `None` for all.
    pub render: Option<RenderId>,
}

/// A notification in the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEntry {
    /// Its id, which is also its `webhook-id`.
    pub id: Uuid,
    /// Which render it is about.
    pub render_id: String,
    /// What it reports.
    pub notification: Notification,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Its place in the feed.
    pub cursor: FeedCursor,
}

/// Some notifications, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPage {
    /// At most as many as were asked for.
    pub entries: Vec<FeedEntry>,
    /// Where to read on. Never before the cursor that was given.
    pub next: FeedCursor,
    /// Whether there is nothing behind `next` yet.
    pub is_end: bool,
}

/// Why the feed cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Notifications after the cursor were removed, or the cursor belongs to another database.
    #[error("the cursor has expired")]
    Expired,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl FeedPage {
    /// An empty page at the end of the feed: where a reader begins that wants only what comes.
    pub async fn at_end(pool: &PgPool) -> sqlx::Result<Self> {
        let bounds = Bounds::read(&mut *pool.acquire().await?).await?;
        let last = sqlx::query_scalar!("SELECT position FROM notifications ORDER BY position DESC LIMIT 1");
        // Visible positions only: one that is taken but not committed is still to come.
        let position = last.fetch_optional(pool).await?.unwrap_or(bounds.removed_through);
        Ok(Self { entries: Vec::new(), next: FeedCursor { feed: bounds.feed, position }, is_end: true })
    }
}

/// Where the feed begins, and which positions were taken.
struct Bounds {
    feed: FeedId,
    removed_through: i64,
    last_taken: i64,
}

impl Bounds {
    async fn read(connection: &mut PgConnection) -> sqlx::Result<Self> {
        let row = sqlx::query!(
            r#"SELECT id, removed_through, (SELECT last_value FROM notifications_position_seq) AS "last_taken!"
               FROM feed"#
        );
        let row = row.fetch_one(connection).await?;
        Ok(Self { feed: row.id.into(), removed_through: row.removed_through, last_taken: row.last_taken })
    }

    /// The position after which to read.
    fn start(&self, after: Option<FeedCursor>) -> Result<i64, FeedError> {
        match after {
            None => Ok(self.removed_through),
            // A cursor ahead of the feed was given by a database that has since been restored from a backup.
            Some(cursor) if cursor.feed != self.feed || cursor.position > self.last_taken => Err(FeedError::Expired),
            Some(cursor) if cursor.position < self.removed_through => Err(FeedError::Expired),
            Some(cursor) => Ok(cursor.position),
        }
    }
}

/// Reads up to `limit` notifications after a cursor; without one, from the oldest that is kept.
pub async fn read(
    pool: &PgPool,
    filter: &FeedFilter,
    after: Option<FeedCursor>,
    limit: usize,
) -> Result<FeedPage, FeedError> {
    // One snapshot: rows that are removed meanwhile are not skipped unnoticed.
    let mut snapshot = begin(pool, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let bounds = Bounds::read(&mut snapshot).await?;
    let mut position = bounds.start(after)?;
    let (mut entries, mut is_end) = (Vec::new(), false);
    for count in std::iter::once((limit + 1).min(CHUNK)).chain(std::iter::repeat_n(CHUNK, CHUNKS - 1)) {
        let rows = rows(&mut snapshot, filter, position, count).await?;
        let is_last = rows.len() < count;
        let (taken, seen) = take(rows, filter, bounds.feed, limit - entries.len());
        entries.extend(taken);
        position = seen.position.unwrap_or(position);
        is_end = is_last && seen.all;
        if is_end || entries.len() == limit {
            break;
        }
    }
    snapshot.commit().await?;
    Ok(FeedPage { entries, next: FeedCursor { feed: bounds.feed, position }, is_end })
}

/// How far a chunk was read.
struct Seen {
    /// The last position; `None` if the chunk was empty.
    position: Option<i64>,
    /// Whether that was the chunk's last row.
    all: bool,
}

/// The rows of a chunk that fit the filter, at most `limit`.
fn take(rows: Vec<NotificationColumns>, filter: &FeedFilter, feed: FeedId, limit: usize) -> (Vec<FeedEntry>, Seen) {
    let (mut entries, mut position, count) = (Vec::new(), None, rows.len());
    for (place, row) in rows.into_iter().enumerate() {
        position = Some(row.position);
        let fits = |entry: &FeedEntry| filter.types.contains(&entry.notification.notification_type());
        entries.extend(row.entry(feed).filter(fits));
        if entries.len() == limit {
            return (entries, Seen { position, all: place + 1 == count });
        }
    }
    (entries, Seen { position, all: true })
}

/// A row as it is stored.
struct NotificationColumns {
    position: i64,
    id: Uuid,
    render_id: String,
    r#type: String,
    from_status: Option<String>,
    to_status: Option<String>,
    download_index: Option<i32>,
    at: DateTime<Utc>,
}

async fn rows(
    connection: &mut PgConnection,
    filter: &FeedFilter,
    after: i64,
    count: usize,
) -> sqlx::Result<Vec<NotificationColumns>> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    if let Some(render) = &filter.render {
        let rows = sqlx::query_as!(
            NotificationColumns,
            "SELECT position, id, render_id, type, from_status, to_status, download_index, at FROM notifications
             WHERE render_id = $1 AND position > $2 ORDER BY position LIMIT $3",
            render.as_str(),
            after,
            count,
        );
        return rows.fetch_all(connection).await;
    }
    let rows = sqlx::query_as!(
        NotificationColumns,
        "SELECT position, id, render_id, type, from_status, to_status, download_index, at FROM notifications
         WHERE position > $1 ORDER BY position LIMIT $2",
        after,
        count,
    );
    rows.fetch_all(connection).await
}

impl NotificationColumns {
    /// `None` if a newer version wrote what this one does not know.
    fn entry(self, feed: FeedId) -> Option<FeedEntry> {
        let status = |text: Option<String>| text.map(|text| text.parse()).transpose().ok();
        let notification = match self.r#type.parse().ok()? {
            NotificationType::Ready => Notification::Ready,
            NotificationType::Incomplete => Notification::Incomplete,
            NotificationType::Failed => Notification::Failed,
            NotificationType::Canceled => Notification::Canceled,
            NotificationType::Moved => {
                Notification::Moved { from: status(self.from_status)?, to: status(self.to_status)?? }
            }
            NotificationType::DownloadStored => Notification::DownloadStored { index: self.download_index? },
            NotificationType::DownloadFailed => Notification::DownloadFailed { index: self.download_index? },
        };
        let cursor = FeedCursor { feed, position: self.position };
        Some(FeedEntry { id: self.id, render_id: self.render_id, notification, at: self.at, cursor })
    }
}

/// How long a notification is kept at most that nobody posts, for example because there is no URL any more.
const MAX_PENDING: TimeDelta = TimeDelta::days(30);

/// Removes up to `limit` notifications that were written before `before`, oldest first, and returns how many. One that
/// is still to be posted stays, and so does what came after it.
pub async fn remove_old(pool: &PgPool, before: DateTime<Utc>, limit: i64) -> sqlx::Result<u64> {
    let mut transaction = begin(pool, "BEGIN").await?;
    // Locked first, so that two processes do not remove at once.
    sqlx::query!("SELECT FROM feed FOR UPDATE").execute(&mut *transaction).await?;
    let removed = sqlx::query!(
        r#"WITH oldest AS (
               SELECT position, at, state, pending_since FROM notifications ORDER BY position LIMIT $2
           ),
           removed AS (
               DELETE FROM notifications
               WHERE position < coalesce(
                   (SELECT min(position) FROM oldest WHERE at >= $1 OR state = 'pending' AND pending_since >= $3),
                   (SELECT max(position) + 1 FROM oldest)
               )
               RETURNING position, state
           )
           SELECT state, count(*) AS "count!", max(position) AS "last!" FROM removed GROUP BY state"#,
        before,
        limit,
        before - MAX_PENDING,
    );
    let removed = removed.fetch_all(&mut *transaction).await?;
    let Some(last) = removed.iter().map(|row| row.last).max() else { return Ok(0) };
    sqlx::query!("UPDATE feed SET removed_through = $1", last).execute(&mut *transaction).await?;
    let mut tallies = Tallies::default();
    for row in &removed {
        if let Some(state) = row.state.as_ref().and_then(|state| state.parse().ok()) {
            tallies.add(Tally::Notifications(state), -row.count);
        }
    }
    tallies.write(&mut transaction).await?;
    transaction.commit().await?;
    Ok(removed.iter().map(|row| row.count.unsigned_abs()).sum())
}
