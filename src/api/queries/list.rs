//! Lists of renders, newest first, one page at a time.
//!
//! Guaranteed: following the cursors visits every render that existed at the first page exactly once, however many are
//! added meanwhile, because a [`Cursor`] names the last render that was shown, not a number of renders.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::one::log_unreadable;
use super::row::{Row, select_renders};
use super::view::RenderView;
use crate::archive::Store;
use crate::domain::ArchiveState;
use crate::domain::{ExternalId, Kind, RenderId, Status};

/// Which renders: those that fit everything that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// With this status.
    pub status: Option<Status>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Whose downloads sum up to this.
    pub archive: Option<ArchiveState>,
    /// That the application named so.
    pub external_id: Option<ExternalId>,
    /// Older than the last render of the page that gave it.
    pub after: Option<Cursor>,
}

/// Some renders of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The newest first.
    pub renders: Vec<RenderView>,
    /// Leads to those that follow; `None` if there are none.
    pub next: Option<Cursor>,
}

/// A place in the list: after a render. Its text is opaque, and safe in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    first_seen_at: DateTime<Utc>,
    id: RenderId,
}

/// A text that no [`Cursor`] gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = format!("{}/{}", self.first_seen_at.timestamp_micros(), self.id);
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(place))
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let place = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let place = String::from_utf8(place).map_err(|_| InvalidCursor)?;
        let (micros, id) = place.split_once('/').ok_or(InvalidCursor)?;
        let micros = micros.parse().ok().filter(|micros| MOMENTS.contains(micros)).ok_or(InvalidCursor)?;
        let first_seen_at = DateTime::from_timestamp_micros(micros).ok_or(InvalidCursor)?;
        Ok(Self { first_seen_at, id: id.parse().map_err(|_| InvalidCursor)? })
    }
}

/// From 1970 to the year 9999, in microseconds: what Postgres takes for sure.
const MOMENTS: std::ops::Range<i64> = 0..253_402_300_800_000_000;

/// `select_renders!` for a page of the renders in `$source`, which has to hold all that fit and may hold others.
macro_rules! listed {
    ($source:literal, $filter:expr, $limit:expr) => {{
        let filter: &Filter = $filter;
        select_renders!(
            $source,
            "WHERE r.kind = ANY ($1) AND r.archive = ANY ($2) AND (r.status = ANY ($3) OR ($4 AND r.status IS NULL))
                 AND ($5::text IS NULL OR r.external_id = $5)
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
        )
    }};
}

/// What a filter leaves of all values.
fn one_or_all<T: Copy>(one: Option<T>, all: &[T]) -> impl Iterator<Item = T> {
    all.iter().copied().filter(move |_| one.is_none()).chain(one)
}

/// Reads a page of at most `limit` renders.
pub async fn list(pool: &PgPool, store: &Store, filter: &Filter, limit: u16) -> sqlx::Result<Page> {
    let mut rows = rows(pool, filter, i64::from(limit) + 1).await?; // one more tells whether others follow
    let more = rows.len() > usize::from(limit);
    rows.truncate(limit.into());
    let last = rows.last().filter(|_| more);
    let next = last.and_then(|row| Some(Cursor { first_seen_at: row.first_seen_at, id: row.id.parse().ok()? }));
    Ok(Page { renders: rows.into_iter().filter_map(|row| view_or_log(row, store)).collect(), next })
}

/// A render as it is shown. One that cannot be read is left out and logged: it must not take the others along.
fn view_or_log(row: Row, store: &Store) -> Option<RenderView> {
    let id = row.id.clone();
    row.view(store).map_err(|unreadable| log_unreadable(&id, unreadable)).ok()
}

/// Reads what fits: by the external id, or the newest of each combination of kind, archive and status that fits, so that
/// a page costs the same however rare its renders are.
async fn rows(pool: &PgPool, filter: &Filter, limit: i64) -> sqlx::Result<Vec<Row>> {
    if filter.external_id.is_some() {
        return listed!("(SELECT * FROM renders WHERE external_id = $5)", filter, limit).fetch_all(pool).await;
    }
    let newest_of_each = listed!(
        "(SELECT renders.*
          FROM (
              SELECT newest.id
              FROM unnest($1::text[]) AS of_kind (kind) CROSS JOIN unnest($2::text[]) AS of_archive (archive)
              CROSS JOIN LATERAL (
                  SELECT known.* FROM unnest($3::text[]) AS of_status (status) CROSS JOIN LATERAL (
                      SELECT id, first_seen_at FROM renders AS r
                      WHERE r.kind = of_kind.kind AND r.archive = of_archive.archive AND r.status = of_status.status
                          AND (first_seen_at, id) < (coalesce($6::timestamptz, 'infinity'), coalesce($7, ''))
                      ORDER BY first_seen_at DESC, id DESC LIMIT $8
                  ) AS known
                  UNION ALL (
                      SELECT id, first_seen_at FROM renders AS r
                      WHERE $4 AND r.kind = of_kind.kind AND r.archive = of_archive.archive AND r.status IS NULL
                          AND (first_seen_at, id) < (coalesce($6::timestamptz, 'infinity'), coalesce($7, ''))
                      ORDER BY first_seen_at DESC, id DESC LIMIT $8
                  )
              ) AS newest
              ORDER BY newest.first_seen_at DESC, newest.id DESC LIMIT $8
          ) AS page JOIN renders USING (id))",
        filter,
        limit
    );
    newest_of_each.fetch_all(pool).await
}

/// A render in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its id.
    pub id: String,
    /// Its status, if one was told.
    pub status: Option<String>,
}

/// The renders that were first heard of last.
pub async fn newest(pool: &PgPool, limit: i64) -> sqlx::Result<Vec<Line>> {
    sqlx::query_as!(Line, "SELECT id, status FROM renders ORDER BY first_seen_at DESC, id DESC LIMIT $1", limit)
        .fetch_all(pool)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place_and_is_safe_in_a_url() {
        let first_seen_at = DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap();
        for id in ["clx", "a/b", "\u{10ffff}?&=+ ", &"x".repeat(255)] {
            let cursor = Cursor { first_seen_at, id: id.parse().unwrap() };
            let text = cursor.to_string();
            assert_eq!(text.parse(), Ok(cursor));
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{text}");
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        let encoded = |place: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(place);
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
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
