//! Announces a render: an application registers a render that it has started, before any event arrives.
//!
//! Guaranteed: nothing that Magic Hour has reported changes, and fields missing from the announcement stay the same. The
//! kind stays the same, too, unless it comes from an earlier announcement only: then the application can correct it.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::{PgConnection, PgPool};

use crate::domain::{ExternalId, ExternalIdOrigin, Kind, RenderId, Status};
use crate::runtime::{Tallies, Tally, begin};

/// An application's announcement of a render.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// The kind of the render.
    pub kind: Kind,
    /// How the external id changes.
    pub external_id: ExternalIdUpdate,
    /// A JSON object to return in every answer, exactly as written. `None` keeps the current one.
    pub metadata: Option<Box<RawValue>>,
}

/// How an announcement changes a render's external id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ExternalIdUpdate {
    /// Keeps it.
    #[default]
    Keep,
    /// Removes it.
    Remove,
    /// Sets it.
    Set(ExternalId),
}

/// The outcome of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnounceOutcome {
    /// The render is new.
    Created,
    /// The render was already known.
    Updated,
    /// Magic Hour has reported another kind. Nothing was written.
    KindMismatch,
    /// The render was erased. Nothing was written.
    Erased,
}

/// The fields of a render that an announcement can change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AnnouncedFields {
    kind: Kind,
    external_id: Option<String>,
    external_id_origin: Option<String>,
    metadata: String,
}

impl AnnouncedFields {
    /// The fields after `announcement`; `None` if Magic Hour has reported another kind.
    fn after(&self, announcement: &Announcement, kind_is_reported: bool) -> Option<Self> {
        if kind_is_reported && announcement.kind != self.kind {
            return None;
        }
        let external_id = match &announcement.external_id {
            ExternalIdUpdate::Keep => self.external_id.clone(),
            ExternalIdUpdate::Remove => None,
            ExternalIdUpdate::Set(id) => Some(id.as_str().to_owned()),
        };
        let external_id_origin = match &announcement.external_id {
            ExternalIdUpdate::Keep => self.external_id_origin.clone(),
            ExternalIdUpdate::Remove | ExternalIdUpdate::Set(_) => Some(ExternalIdOrigin::Application.to_string()),
        };
        let metadata = announcement.metadata.as_ref().map_or_else(|| self.metadata.clone(), |raw| raw.get().to_owned());
        Some(Self { kind: announcement.kind, external_id, external_id_origin, metadata })
    }
}

/// Creates or updates the render, and wakes callers that wait for it. Unless the render has ended, it is polled at once,
/// because only a poll can report `queued`.
pub async fn announce(
    pool: &PgPool,
    id: &RenderId,
    announcement: &Announcement,
    now: DateTime<Utc>,
) -> sqlx::Result<AnnounceOutcome> {
    let mut transaction = begin(pool, "BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    let announced = if insert(&mut transaction, id, announcement, now).await? {
        wake_reconciler(&mut transaction).await?;
        let mut tallies = Tallies::default();
        tallies.add(Tally::Renders(announcement.kind, None), 1);
        tallies.write(&mut transaction).await?;
        AnnounceOutcome::Created
    } else {
        update(&mut transaction, id, announcement, now).await?
    };
    transaction.commit().await?;
    Ok(announced)
}

/// Creates the render unless it exists. Returns whether it was created.
async fn insert(
    connection: &mut PgConnection,
    id: &RenderId,
    announcement: &Announcement,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let application = ExternalIdOrigin::Application.as_str();
    let (external_id, origin) = match &announcement.external_id {
        ExternalIdUpdate::Set(id) => (Some(id.as_str()), Some(application)),
        ExternalIdUpdate::Remove => (None, Some(application)),
        ExternalIdUpdate::Keep => (None, None),
    };
    let inserted = sqlx::query!(
        "INSERT INTO renders (
             id, kind, external_id, metadata, first_seen_at, last_seen_at, updated_at, poll_requested, poll_due_at,
             external_id_origin
         )
         VALUES ($1, $2, $3, coalesce($4::text::json, '{}'), $5, $5, $5, true, $5, $6)
         ON CONFLICT (id) DO NOTHING",
        id.as_str(),
        announcement.kind.as_str(),
        external_id,
        announcement.metadata.as_ref().map(|raw| raw.get()),
        now,
        origin,
    );
    Ok(inserted.execute(connection).await?.rows_affected() == 1)
}

/// Locks the existing render, decides, and writes.
async fn update(
    connection: &mut PgConnection,
    id: &RenderId,
    announcement: &Announcement,
    now: DateTime<Utc>,
) -> sqlx::Result<AnnounceOutcome> {
    let row = sqlx::query!(
        r#"SELECT kind, status, erasure_requested_at, external_id, external_id_origin, metadata::text AS "metadata!",
               seen_event_types <> '{}' OR status IS NOT NULL OR field_versions <> '{}' AS "is_reported!"
           FROM renders WHERE id = $1 FOR UPDATE"#,
        id.as_str(),
    );
    let row = row.fetch_one(&mut *connection).await?;
    if row.erasure_requested_at.is_some() {
        return Ok(AnnounceOutcome::Erased);
    }
    let decode = |unknown| sqlx::Error::Decode(Box::new(unknown));
    let kind: Kind = row.kind.parse().map_err(decode)?;
    let status: Option<Status> = row.status.as_deref().map(str::parse).transpose().map_err(decode)?;
    let before = AnnouncedFields {
        kind,
        external_id: row.external_id,
        external_id_origin: row.external_id_origin,
        metadata: row.metadata,
    };
    let Some(after) = before.after(announcement, row.is_reported) else { return Ok(AnnounceOutcome::KindMismatch) };
    let (changed, unfinished) = (after != before, !status.is_some_and(Status::is_finished));
    write(connection, id, &after, now, changed, unfinished).await?;
    if unfinished {
        wake_reconciler(connection).await?;
    }
    if after.kind != before.kind {
        let mut tallies = Tallies::default();
        tallies.add(Tally::Renders(before.kind, status), -1);
        tallies.add(Tally::Renders(after.kind, status), 1);
        tallies.write(connection).await?;
    }
    Ok(AnnounceOutcome::Updated)
}

/// Writes the fields, and requests a poll if the render is unfinished.
async fn write(
    connection: &mut PgConnection,
    id: &RenderId,
    after: &AnnouncedFields,
    now: DateTime<Utc>,
    changed: bool,
    unfinished: bool,
) -> sqlx::Result<()> {
    let written = sqlx::query!(
        "UPDATE renders
         SET kind = $2, external_id = $3, metadata = $4::text::json, last_seen_at = greatest(last_seen_at, $5),
             updated_at = CASE WHEN $6 THEN greatest(updated_at, $5) ELSE updated_at END,
             poll_requested = poll_requested OR $7,
             poll_due_at = CASE WHEN $7 THEN least(poll_due_at, $5) ELSE poll_due_at END,
             external_id_origin = $8
         WHERE id = $1",
        id.as_str(),
        after.kind.as_str(),
        after.external_id,
        after.metadata,
        now,
        changed,
        unfinished,
        after.external_id_origin,
    );
    written.execute(connection).await.map(drop)
}

/// Postgres delivers the notification at the commit.
async fn wake_reconciler(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_notify('renderhook_polls', '')").execute(connection).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement(kind: Kind, external_id: ExternalIdUpdate, metadata: Option<&str>) -> Announcement {
        let metadata = metadata.map(|text| RawValue::from_string(text.to_owned()).unwrap());
        Announcement { kind, external_id, metadata }
    }

    #[test]
    fn missing_fields_stay_and_a_reported_kind_cannot_be_changed() {
        let before = AnnouncedFields {
            kind: Kind::Video,
            external_id: Some("one".to_owned()),
            external_id_origin: None,
            metadata: "{}".to_owned(),
        };
        let after = |announcement, reported| before.after(&announcement, reported);
        assert_eq!(after(announcement(Kind::Video, ExternalIdUpdate::Keep, None), true), Some(before.clone()));
        let renamed = announcement(Kind::Video, ExternalIdUpdate::Set("two".parse().unwrap()), Some(r#"{"n": 1.50}"#));
        let expected = AnnouncedFields {
            external_id: Some("two".to_owned()),
            external_id_origin: Some("application".to_owned()),
            metadata: r#"{"n": 1.50}"#.to_owned(),
            ..before.clone()
        };
        assert_eq!(after(renamed, true), Some(expected));
        let unnamed = after(announcement(Kind::Video, ExternalIdUpdate::Remove, None), true).unwrap();
        assert_eq!((unnamed.external_id, unnamed.external_id_origin.as_deref()), (None, Some("application")));
        assert_eq!(after(announcement(Kind::Image, ExternalIdUpdate::Keep, None), true), None);
        assert_eq!(after(announcement(Kind::Image, ExternalIdUpdate::Keep, None), false).unwrap().kind, Kind::Image);
    }
}
