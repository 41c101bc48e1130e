//! "I have started this one": an application announces a render of which no event has come yet, and gives it its own name.
//!
//! Guaranteed: a render that is known keeps everything that Magic Hour has told of it, and what is left out of the
//! announcement stays as it was. Its kind stays as well, unless nobody but the application has told of it so far:
//! then the application corrects itself.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgPool;
use sqlx::types::Json;

use crate::domain::{ExternalId, Kind, RenderId};

/// What an application says of a render.
#[derive(Debug, Clone, PartialEq)]
pub struct Announcement {
    /// Which call of Magic Hour's started it.
    pub kind: Kind,
    /// The application's own name for it.
    pub external_id: Naming,
    /// What the application wants back in every answer; `None` leaves what is there. No text in it holds U+0000, which
    /// Postgres does not keep.
    pub metadata: Option<Map<String, Value>>,
}

/// What an announcement does to the name that a render has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Naming {
    /// It stays.
    #[default]
    Keep,
    /// It is taken away.
    Remove,
    /// This one takes its place.
    Set(ExternalId),
}

/// What became of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracked {
    /// Nobody had told of the render before.
    New,
    /// It was known, and is now named so.
    Known,
    /// It is of another kind, by Magic Hour's own word: nothing is written.
    OtherKind,
}

impl Naming {
    fn given(&self) -> Option<&str> {
        match self {
            Self::Set(name) => Some(name.as_str()),
            Self::Keep | Self::Remove => None,
        }
    }
}

/// Makes the render, or names the one that is there, and wakes who waits for it. Unless it has ended, Magic Hour is asked
/// about it at once: only so is `queued` seen.
pub async fn track(
    pool: &PgPool,
    id: &RenderId,
    announcement: &Announcement,
    now: DateTime<Utc>,
) -> sqlx::Result<Tracked> {
    // `before` is NULL in a row that is new, and tells of any other whether it has changed.
    let row = sqlx::query!(
        r#"WITH render AS (
               INSERT INTO renders AS r (
                   id, kind, external_id, metadata, first_seen_at, last_seen_at, updated_at, poll_wanted, poll_due_at
               )
               VALUES ($1, $2, $4, coalesce($5::jsonb, '{}'), $6, $6, $6, true, $6)
               ON CONFLICT (id) DO UPDATE SET
                   last_seen_at = greatest(r.last_seen_at, $6),
                   poll_wanted = r.poll_wanted OR NOT r.finished,
                   poll_due_at = CASE WHEN NOT r.finished THEN least(r.poll_due_at, $6) ELSE r.poll_due_at END,
                   (kind, external_id, metadata, updated_at, before) = (
                       SELECT
                           excluded.kind, named.external_id, named.metadata,
                           CASE WHEN news.changed THEN greatest(r.updated_at, $6) ELSE r.updated_at END,
                           jsonb_build_object('changed', news.changed)
                       FROM (
                           SELECT
                               CASE WHEN $3 THEN $4 ELSE r.external_id END AS external_id,
                               coalesce($5, r.metadata) AS metadata
                       ) AS named
                       CROSS JOIN LATERAL (
                           SELECT (excluded.kind, named.external_id, named.metadata)
                               IS DISTINCT FROM (r.kind, r.external_id, r.metadata) AS changed
                       ) AS news
                   )
               WHERE r.kind = excluded.kind OR (r.seen_event_types = '{}' AND r.status IS NULL AND r.fields = '{}')
               RETURNING id, before, NOT finished AS asks
           ),
           woken AS MATERIALIZED (
               SELECT pg_notify('renderhook_renders', id)
               FROM render
               WHERE coalesce((before ->> 'changed')::boolean, true)
               UNION ALL
               SELECT pg_notify('renderhook_polls', '') FROM render WHERE asks
           )
           SELECT before IS NULL AS "new!", (SELECT count(*) FROM woken) AS "woken!" FROM render"#,
        id.as_str(),
        announcement.kind.as_str(),
        announcement.external_id != Naming::Keep,
        announcement.external_id.given(),
        announcement.metadata.as_ref().map(Json) as _,
        now,
    )
    .fetch_optional(pool)
    .await?;
    Ok(match row {
        Some(row) if row.new => Tracked::New,
        Some(_) => Tracked::Known,
        None => Tracked::OtherKind,
    })
}
