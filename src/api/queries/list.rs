//! Lists of renders, the newest first, a page at a time.
//!
//! Guaranteed: who follows the cursors meets every render that was there at the first page exactly once, however many
//! are added meanwhile, since a [`Cursor`] names the last render that was told and not a number of them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::render::Render;
use super::row::{Row, told};
use crate::archive::Store;
use crate::domain::Archive;
use crate::domain::{ExternalId, Kind, RenderId, Status};

/// Which renders: those that fit everything that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// With this status.
    pub status: Option<Status>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Whose downloads sum up to this.
    pub archive: Option<Archive>,
    /// That the application named so.
    pub external_id: Option<ExternalId>,
    /// Older than the last render of the page that gave it.
    pub after: Option<Cursor>,
}

/// Some renders of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The newest first.
    pub renders: Vec<Render>,
    /// Leads to those that follow; `None` if there are none.
    pub next: Option<Cursor>,
}

/// A place in the list: after a render. Its text is opaque, and safe in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    first_heard_at: DateTime<Utc>,
    id: RenderId,
}

/// A text that no [`Cursor`] gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = format!("{}/{}", self.first_heard_at.timestamp_micros(), self.id);
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
        let first_heard_at = DateTime::from_timestamp_micros(micros).ok_or(InvalidCursor)?;
        Ok(Self { first_heard_at, id: id.parse().map_err(|_| InvalidCursor)? })
    }
}

/// From 1970 to the year 9999, in microseconds: what Postgres takes for sure.
const MOMENTS: std::ops::Range<i64> = 0..253_402_300_800_000_000;

/// `told!` for a page of the renders in `$source`, which has to hold all that fit and may hold others.
macro_rules! listed {
    ($source:literal, $filter:expr, $limit:expr) => {
        told!(
            $source,
            "WHERE ($1::text IS NULL OR r.status = $1)
                 AND ($2::text IS NULL OR r.kind = $2)
                 AND ($3::text IS NULL OR files.archive = $3)
                 AND ($4::text IS NULL OR r.external_id = $4)
                 AND (r.first_heard_at, r.id) < (coalesce($5::timestamptz, 'infinity'), coalesce($6, ''))
             ORDER BY r.first_heard_at DESC, r.id DESC
             LIMIT $7",
            $filter.status.map(Status::as_str),
            $filter.kind.map(Kind::as_str),
            $filter.archive.map(Archive::as_str),
            $filter.external_id.as_ref().map(ExternalId::as_str),
            $filter.after.as_ref().map(|cursor| cursor.first_heard_at),
            $filter.after.as_ref().map(|cursor| cursor.id.as_str()),
            $limit,
        )
    };
}

/// Reads a page of at most `limit` renders.
pub async fn list(pool: &PgPool, store: &Store, filter: &Filter, limit: u16) -> sqlx::Result<Page> {
    let mut rows = rows(pool, filter, i64::from(limit) + 1).await?; // one more tells whether others follow
    let more = rows.len() > usize::from(limit);
    rows.truncate(limit.into());
    let last = rows.last().filter(|_| more);
    let next = last.and_then(|row| Some(Cursor { first_heard_at: row.first_heard_at, id: row.id.parse().ok()? }));
    Ok(Page { renders: rows.into_iter().map(|row| row.shown(store)).collect(), next })
}

/// Reads what fits, by what leaves the least to look through. It is chosen here, since a plan that Postgres keeps for
/// any parameters cannot choose.
async fn rows(pool: &PgPool, filter: &Filter, limit: i64) -> sqlx::Result<Vec<Row>> {
    match filter {
        Filter { external_id: Some(_), .. } => {
            listed!("(SELECT * FROM renders WHERE external_id = $4)", filter, limit).fetch_all(pool).await
        }
        Filter { archive: Some(Archive::Pending | Archive::Partial | Archive::Failed), .. } => {
            let unstored = listed!(
                "(SELECT * FROM renders WHERE id IN (SELECT render_id FROM downloads WHERE state <> 'stored'))",
                filter,
                limit
            );
            unstored.fetch_all(pool).await
        }
        Filter { status: Some(_), .. } => {
            listed!("(SELECT * FROM renders WHERE status = $1)", filter, limit).fetch_all(pool).await
        }
        _ => listed!("renders", filter, limit).fetch_all(pool).await,
    }
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
    sqlx::query_as!(Line, "SELECT id, status FROM renders ORDER BY first_heard_at DESC, id DESC LIMIT $1", limit)
        .fetch_all(pool)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place_and_is_safe_in_a_url() {
        let first_heard_at = DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap();
        for id in ["clx", "a/b", "\u{10ffff}?&=+ ", &"x".repeat(255)] {
            let cursor = Cursor { first_heard_at, id: id.parse().unwrap() };
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
