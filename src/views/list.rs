//! Lists renders, newest first, in pages.
//!
//! Guaranteed: following the cursors visits every render that existed when the first page was read exactly once, however
//! many are added meanwhile, because a [`ListCursor`] identifies the last render of a page instead of an offset.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::one::view_or_log;
use super::row::{RenderRow, select_renders};
use super::view::RenderView;
use crate::archive::Store;
use crate::domain::ArchiveState;
use crate::domain::{ExternalId, Kind, RenderId, Status};

/// A filter for renders. A render must match every field that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// The status.
    pub status: Option<Status>,
    /// The kind.
    pub kind: Option<Kind>,
    /// The archive state.
    pub archive: Option<ArchiveState>,
    /// The application's own id for the render.
    pub external_id: Option<ExternalId>,
    /// Magic Hour's project type.
    pub project_type: Option<String>,
    /// The code of the error.
    pub error_code: Option<String>,
    /// Only renders first seen at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Only renders first seen before this time.
    pub until: Option<DateTime<Utc>>,
    /// Only renders after this position.
    pub after: Option<ListCursor>,
}

/// A page of renders.
#[derive(Debug, Clone)]
pub struct RenderPage {
    /// The renders, newest first.
    pub renders: Vec<RenderView>,
    /// The cursor for the next page; `None` on the last page.
    pub next: Option<ListCursor>,
}

/// A position in the list: after a certain render. As text, it is opaque and safe in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListCursor {
    first_seen_at: DateTime<Utc>,
    id: RenderId,
}

/// The error for text that is not a [`ListCursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct InvalidListCursor;

impl fmt::Display for ListCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = format!("{}/{}", self.first_seen_at.timestamp_micros(), self.id);
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(position))
    }
}

impl FromStr for ListCursor {
    type Err = InvalidListCursor;

    fn from_str(text: &str) -> Result<Self, InvalidListCursor> {
        let position = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidListCursor)?;
        let position = String::from_utf8(position).map_err(|_| InvalidListCursor)?;
        let (micros, id) = position.split_once('/').ok_or(InvalidListCursor)?;
        let micros = micros.parse().ok().filter(|micros| TIMESTAMPS.contains(micros)).ok_or(InvalidListCursor)?;
        let first_seen_at = DateTime::from_timestamp_micros(micros).ok_or(InvalidListCursor)?;
        Ok(Self { first_seen_at, id: id.parse().map_err(|_| InvalidListCursor)? })
    }
}

/// Timestamps from 1970 to the year 9999, in microseconds: all of them are valid in Postgres.
const TIMESTAMPS: std::ops::Range<i64> = 0..253_402_300_800_000_000;

/// Runs `select_renders!` for a page. `$source` must contain all renders that match, and may contain others.
macro_rules! listed {
    ([$($source:literal),+], $filter:expr, $limit:expr) => {{
        let filter: &ListFilter = $filter;
        select_renders!(
            [$($source),+],
            "NULL::shown_notification[]",
            "WHERE r.kind = ANY ($1) AND r.archive = ANY ($2) AND (r.status = ANY ($3) OR ($4 AND r.status IS NULL))
                 AND ($5::text IS NULL OR r.external_id = $5)
                 AND ($9::text IS NULL OR r.project_type = $9) AND ($10::text IS NULL OR r.error_code = $10)
                 AND r.first_seen_at >= coalesce($11::timestamptz, '-infinity')
                 AND r.first_seen_at < coalesce($12::timestamptz, 'infinity')
                 AND (r.first_seen_at, r.id) < (coalesce($6::timestamptz, 'infinity'), coalesce($7, ''))
             ORDER BY r.first_seen_at DESC, r.id DESC
             LIMIT $8",
            &one_or_all(filter.kind, &Kind::ALL).map(Kind::as_str).collect::<Vec<_>>() as _,
            &one_or_all(filter.archive, &ArchiveState::ALL).map(ArchiveState::as_str).collect::<Vec<_>>() as _,
            &one_or_all(filter.status, &Status::ALL).map(Status::as_str).collect::<Vec<_>>() as _,
            filter.status.is_none(),
            filter.external_id.as_ref().map(ExternalId::as_str),
            filter.after.as_ref().map(|cursor| cursor.first_seen_at),
            filter.after.as_ref().map(|cursor| cursor.id.as_str()),
            $limit,
            filter.project_type.as_deref(),
            filter.error_code.as_deref(),
            filter.since,
            filter.until,
        )
    }};
}

/// The newest renders of each combination of kind, archive state, and status that the filter allows, and that meet
/// `$condition`. Each combination is a range of an index. `OFFSET 0` keeps the conditions
/// outside from being used to find the rows instead. Types and errors are indexed by their beginnings.
macro_rules! newest_of_each {
    ($condition:literal, $filter:expr, $limit:expr) => {
        listed!(
            ["(SELECT renders.*
              FROM (
                  SELECT newest.id
                  FROM unnest($1::text[]) AS of_kind (kind) CROSS JOIN unnest($2::text[]) AS of_archive (archive)
                  CROSS JOIN LATERAL (
                      SELECT known.* FROM unnest($3::text[]) AS of_status (status) CROSS JOIN LATERAL (
                          SELECT id, first_seen_at FROM renders AS r
                          WHERE r.kind = of_kind.kind AND r.archive = of_archive.archive AND r.status = of_status.status",
             $condition,
             "           AND first_seen_at >= coalesce($11::timestamptz, '-infinity')
                              AND first_seen_at < coalesce($12::timestamptz, 'infinity')
                              AND (first_seen_at, id) < (coalesce($6::timestamptz, 'infinity'), coalesce($7, ''))
                          ORDER BY first_seen_at DESC, id DESC LIMIT $8
                      ) AS known
                      UNION ALL (
                          SELECT id, first_seen_at FROM renders AS r
                          WHERE $4 AND r.kind = of_kind.kind AND r.archive = of_archive.archive AND r.status IS NULL",
             $condition,
             "           AND first_seen_at >= coalesce($11::timestamptz, '-infinity')
                              AND first_seen_at < coalesce($12::timestamptz, 'infinity')
                              AND (first_seen_at, id) < (coalesce($6::timestamptz, 'infinity'), coalesce($7, ''))
                          ORDER BY first_seen_at DESC, id DESC LIMIT $8
                      )
                  ) AS newest
                  ORDER BY newest.first_seen_at DESC, newest.id DESC LIMIT $8
              ) AS page JOIN renders USING (id)
              OFFSET 0)"],
            $filter,
            $limit
        )
    };
}

/// The values that a filter allows.
fn one_or_all<T: Copy>(one: Option<T>, all: &[T]) -> impl Iterator<Item = T> {
    all.iter().copied().filter(move |_| one.is_none()).chain(one)
}

/// Reads a page of at most `limit` renders.
pub async fn list(pool: &PgPool, store: &Store, filter: &ListFilter, limit: u16) -> sqlx::Result<RenderPage> {
    let mut rows = rows(pool, filter, i64::from(limit) + 1).await?; // one more, to see whether there is another page
    let has_more = rows.len() > usize::from(limit);
    rows.truncate(limit.into());
    let last = rows.last().filter(|_| has_more);
    let next = last.and_then(|row| Some(ListCursor { first_seen_at: row.first_seen_at, id: row.id.parse().ok()? }));
    Ok(RenderPage { renders: rows.into_iter().filter_map(|row| view_or_log(row, store)).collect(), next })
}

/// Reads the matching renders: by external id, or the newest of each matching combination of kind, archive state, and
/// status, so that every page takes about the same time, however rare the matches are.
async fn rows(pool: &PgPool, filter: &ListFilter, limit: i64) -> sqlx::Result<Vec<RenderRow>> {
    if filter.external_id.is_some() {
        return listed!(["(SELECT * FROM renders WHERE external_id = $5)"], filter, limit).fetch_all(pool).await;
    }
    match (&filter.error_code, &filter.project_type) {
        (None, None) => newest_of_each!("", filter, limit).fetch_all(pool).await,
        (None, Some(_)) => {
            newest_of_each!(" AND left(r.project_type, 100) = left($9, 100) AND r.project_type = $9", filter, limit)
                .fetch_all(pool)
                .await
        }
        (Some(_), None) => {
            newest_of_each!(" AND left(r.error_code, 100) = left($10, 100) AND r.error_code = $10", filter, limit)
                .fetch_all(pool)
                .await
        }
        (Some(_), Some(_)) => {
            newest_of_each!(
                " AND left(r.error_code, 100) = left($10, 100) AND r.error_code = $10
                   AND left(r.project_type, 100) = left($9, 100) AND r.project_type = $9",
                filter,
                limit
            )
            .fetch_all(pool)
            .await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_parses_back_to_the_same_position_and_is_safe_in_a_url() {
        let first_seen_at = DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap();
        for id in ["clx", "a/b", "\u{10ffff}?&=+ ", &"x".repeat(255)] {
            let cursor = ListCursor { first_seen_at, id: id.parse().unwrap() };
            let text = cursor.to_string();
            assert_eq!(text.parse(), Ok(cursor));
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{text}");
        }
    }

    #[test]
    fn invalid_cursors_are_rejected() {
        let encoded = |position: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(position);
        for text in [
            String::new(),
            "clx".to_owned(),
            "!".to_owned(),
            encoded(b"1"),
            encoded(b"1/"),
            encoded(b"/clx"),
            encoded(b"-1/clx"),
            encoded(b"253402300800000000/clx"),
            encoded(b"99999999999999999999/clx"),
            encoded(b"1/\xff"),
            encoded(b"1/c\0lx"),
            encoded(format!("1/{}", "x".repeat(256)).as_bytes()),
            format!("{}==", encoded(b"1/clx")),
        ] {
            assert_eq!(text.parse::<ListCursor>(), Err(InvalidListCursor), "{text}");
        }
    }
}
