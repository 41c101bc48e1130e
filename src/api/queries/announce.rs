//! An application announces a render that it has started, before any event about it has come, and names it.
//!
//! Guaranteed: everything that Magic Hour reported about a known render stays, and what an announcement leaves out stays
//! as it was. Its kind stays, too, unless only the application has named one so far: then it can correct itself.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::{PgConnection, PgPool};

use crate::domain::{ExternalId, Kind, RenderId, Status};
use crate::runtime::{Tallies, Tally};

/// What an application says about a render.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// Which of Magic Hour's calls started it.
    pub kind: Kind,
    /// What happens to the application's own name for it.
    pub external_id: Naming,
    /// An object to return in every answer, exactly as written; `None` leaves what is there.
    pub metadata: Option<Box<RawValue>>,
}

/// What an announcement does to the name that a render has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Naming {
    /// It stays.
    #[default]
    Keep,
    /// It is removed.
    Remove,
    /// It is replaced.
    Set(ExternalId),
}

/// What became of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// The render was unknown.
    New,
    /// It was known.
    Known,
    /// Magic Hour reported it with another kind: nothing is written.
    OtherKind,
}

/// What a render has that an announcement may change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    kind: Kind,
    external_id: Option<String>,
    metadata: String,
}

impl Named {
    /// What it has after `announcement`; `None` if Magic Hour reported another kind.
    fn after(&self, announcement: &Announcement, kind_is_reported: bool) -> Option<Self> {
        if kind_is_reported && announcement.kind != self.kind {
            return None;
        }
        let external_id = match &announcement.external_id {
            Naming::Keep => self.external_id.clone(),
            Naming::Remove => None,
            Naming::Set(name) => Some(name.as_str().to_owned()),
        };
        let metadata = announcement.metadata.as_ref().map_or_else(|| self.metadata.clone(), |raw| raw.get().to_owned());
        Some(Self { kind: announcement.kind, external_id, metadata })
    }
}

/// Creates the render, or names the known one, and wakes whoever waits for it. Unless it has ended, it is polled at once:
/// only a poll sees `queued`.
pub async fn announce(
    pool: &PgPool,
    id: &RenderId,
    announcement: &Announcement,
    now: DateTime<Utc>,
) -> sqlx::Result<Announced> {
    let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    let announced = if insert(&mut transaction, id, announcement, now).await? {
        wake(&mut transaction, id, true, true).await?;
        let mut tallies = Tallies::default();
        tallies.add(Tally::Renders(announcement.kind, None), 1);
        tallies.write(&mut transaction).await?;
        Announced::New
    } else {
        update(&mut transaction, id, announcement, now).await?
    };
    transaction.commit().await?;
    Ok(announced)
}

/// Whether the render is new; if so, it is created.
async fn insert(
    connection: &mut PgConnection,
    id: &RenderId,
    announcement: &Announcement,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let external_id = match &announcement.external_id {
        Naming::Set(name) => Some(name.as_str()),
        Naming::Keep | Naming::Remove => None,
    };
    let inserted = sqlx::query!(
        "INSERT INTO renders (
             id, kind, external_id, metadata, first_seen_at, last_seen_at, updated_at, poll_wanted, poll_due_at
         )
         VALUES ($1, $2, $3, coalesce($4::text::json, '{}'), $5, $5, $5, true, $5)
         ON CONFLICT (id) DO NOTHING",
        id.as_str(),
        announcement.kind.as_str(),
        external_id,
        announcement.metadata.as_ref().map(|raw| raw.get()),
        now,
    );
    Ok(inserted.execute(connection).await?.rows_affected() == 1)
}

/// Locks the known render, decides, and writes.
async fn update(
    connection: &mut PgConnection,
    id: &RenderId,
    announcement: &Announcement,
    now: DateTime<Utc>,
) -> sqlx::Result<Announced> {
    let row = sqlx::query!(
        r#"SELECT kind, status, external_id, metadata::text AS "metadata!",
               seen_event_types <> '{}' OR status IS NOT NULL OR field_versions <> '{}' AS "is_reported!"
           FROM renders WHERE id = $1 FOR UPDATE"#,
        id.as_str(),
    );
    let row = row.fetch_one(&mut *connection).await?;
    let decode = |unknown| sqlx::Error::Decode(Box::new(unknown));
    let kind: Kind = row.kind.parse().map_err(decode)?;
    let status: Option<Status> = row.status.as_deref().map(str::parse).transpose().map_err(decode)?;
    let before = Named { kind, external_id: row.external_id, metadata: row.metadata };
    let Some(after) = before.after(announcement, row.is_reported) else { return Ok(Announced::OtherKind) };
    let (changed, unfinished) = (after != before, !status.is_some_and(Status::is_finished));
    let written = sqlx::query!(
        "UPDATE renders
         SET kind = $2, external_id = $3, metadata = $4::text::json, last_seen_at = greatest(last_seen_at, $5),
             updated_at = CASE WHEN $6 THEN greatest(updated_at, $5) ELSE updated_at END,
             poll_wanted = poll_wanted OR $7,
             poll_due_at = CASE WHEN $7 THEN least(poll_due_at, $5) ELSE poll_due_at END
         WHERE id = $1",
        id.as_str(),
        after.kind.as_str(),
        after.external_id,
        after.metadata,
        now,
        changed,
        unfinished,
    );
    written.execute(&mut *connection).await?;
    wake(connection, id, changed, unfinished).await?;
    if after.kind != before.kind {
        let mut tallies = Tallies::default();
        tallies.add(Tally::Renders(before.kind, status), -1);
        tallies.add(Tally::Renders(after.kind, status), 1);
        tallies.write(connection).await?;
    }
    Ok(Announced::Known)
}

/// Wakes callers that wait for the render, and the poller; Postgres tells them at the commit.
async fn wake(connection: &mut PgConnection, id: &RenderId, callers: bool, poller: bool) -> sqlx::Result<()> {
    let woken = sqlx::query!(
        "SELECT pg_notify('renderhook_renders', $1) WHERE $2
         UNION ALL
         SELECT pg_notify('renderhook_polls', '') WHERE $3",
        id.as_str(),
        callers,
        poller,
    );
    woken.execute(connection).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement(kind: Kind, external_id: Naming, metadata: Option<&str>) -> Announcement {
        let metadata = metadata.map(|text| RawValue::from_string(text.to_owned()).unwrap());
        Announcement { kind, external_id, metadata }
    }

    #[test]
    fn what_an_announcement_leaves_out_stays_and_a_reported_kind_cannot_be_changed() {
        let before = Named { kind: Kind::Video, external_id: Some("one".to_owned()), metadata: "{}".to_owned() };
        let after = |announcement, reported| before.after(&announcement, reported);
        assert_eq!(after(announcement(Kind::Video, Naming::Keep, None), true), Some(before.clone()));
        let renamed = announcement(Kind::Video, Naming::Set("two".parse().unwrap()), Some(r#"{"n": 1.50}"#));
        let expected =
            Named { external_id: Some("two".to_owned()), metadata: r#"{"n": 1.50}"#.to_owned(), ..before.clone() };
        assert_eq!(after(renamed, true), Some(expected));
        let unnamed = after(announcement(Kind::Video, Naming::Remove, None), true).unwrap();
        assert_eq!(unnamed.external_id, None);
        assert_eq!(after(announcement(Kind::Image, Naming::Keep, None), true), None);
        assert_eq!(after(announcement(Kind::Image, Naming::Keep, None), false).unwrap().kind, Kind::Image);
    }
}
