//! Downloads whose last attempt failed, grouped by error.
//!
//! However many there are, the statement visits each group once and counts only up to a limit, all in an index of nothing else.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::domain::DownloadState;
use crate::erasure::ERASED_DOWNLOAD;

/// Up to where a group is counted.
pub(in crate::ui) const COUNT_LIMIT: i64 = 10_000;
/// How many groups are shown at most.
const MAX_GROUPS: i64 = 100;

/// The downloads with one state and one error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ui) struct TroubledDownloads {
    pub(in crate::ui) state: DownloadState,
    pub(in crate::ui) error_code: String,
    /// The message of one of them.
    pub(in crate::ui) message: Option<String>,
    /// How many; more than [`COUNT_LIMIT`] if counting stopped there.
    pub(in crate::ui) count: i64,
    /// How many of them have a URL, so that they can be tried again.
    pub(in crate::ui) with_url: i64,
    /// When the first attempt at the oldest began.
    pub(in crate::ui) oldest_at: Option<DateTime<Utc>>,
    /// When the last attempt ended.
    pub(in crate::ui) newest_at: Option<DateTime<Utc>>,
    /// When the first URL expires or expired.
    pub(in crate::ui) first_expires_at: Option<DateTime<Utc>>,
    /// When the next attempt is due.
    pub(in crate::ui) next_attempt_at: Option<DateTime<Utc>>,
}

struct GroupRow {
    state: String,
    error_code: String,
    message: Option<String>,
    count: i64,
    with_url: i64,
    oldest_at: Option<DateTime<Utc>>,
    newest_at: Option<DateTime<Utc>>,
    first_expires_at: Option<DateTime<Utc>>,
    next_attempt_at: Option<DateTime<Utc>>,
}

/// The groups, failed ones before those that are tried again, the largest first. What is being erased is in no trouble.
pub(in crate::ui) async fn troubled_downloads(pool: &PgPool) -> sqlx::Result<Vec<TroubledDownloads>> {
    let rows = rows(pool).await?.into_iter().filter(|row| row.error_code != ERASED_DOWNLOAD);
    let mut groups: Vec<_> = rows.filter_map(group).collect();
    groups.sort_by_key(|group| (group.state != DownloadState::Failed, -group.count));
    Ok(groups)
}

fn group(row: GroupRow) -> Option<TroubledDownloads> {
    Some(TroubledDownloads {
        state: row.state.parse().ok()?,
        error_code: row.error_code,
        message: row.message,
        count: row.count,
        with_url: row.with_url,
        oldest_at: row.oldest_at,
        newest_at: row.newest_at,
        first_expires_at: row.first_expires_at,
        next_attempt_at: row.next_attempt_at,
    })
}

async fn rows(pool: &PgPool) -> sqlx::Result<Vec<GroupRow>> {
    let rows = sqlx::query_as!(
        GroupRow,
        r#"WITH RECURSIVE groups AS (
               (SELECT state, error_code FROM downloads
                WHERE error_code IS NOT NULL AND state IN ('pending', 'failed')
                ORDER BY state, error_code LIMIT 1)
               UNION ALL
               SELECT next.state, next.error_code FROM groups CROSS JOIN LATERAL (
                   SELECT d.state, d.error_code FROM downloads AS d
                   WHERE d.error_code IS NOT NULL AND d.state IN ('pending', 'failed')
                       AND (d.state, d.error_code) > (groups.state, groups.error_code)
                   ORDER BY d.state, d.error_code LIMIT 1
               ) AS next
           )
           SELECT groups.state AS "state!", groups.error_code AS "error_code!", counted.message, counted.count AS "count!",
               counted.with_url AS "with_url!", counted.oldest_at, counted.newest_at, counted.first_expires_at,
               counted.next_attempt_at
           FROM (SELECT * FROM groups LIMIT $2) AS groups CROSS JOIN LATERAL (
               SELECT count(*) AS count, count(url) AS with_url, max(error_message) AS message,
                   min(coalesce(first_attempt_at, updated_at)) AS oldest_at, max(updated_at) AS newest_at,
                   min(expires_at) AS first_expires_at, min(due_at) AS next_attempt_at
               FROM (
                   SELECT url, error_message, first_attempt_at, updated_at, expires_at, due_at FROM downloads AS d
                   WHERE d.error_code = groups.error_code AND d.state = groups.state
                       AND d.error_code IS NOT NULL AND d.state IN ('pending', 'failed')
                   LIMIT $1
               ) AS newest
           ) AS counted"#,
        COUNT_LIMIT + 1, // one more, to see whether there are more
        MAX_GROUPS,
    );
    rows.fetch_all(pool).await
}
