//! Render rows in a transaction that changes downloads. They are locked first, and written with their new file counts.
//!
//! Guaranteed:
//! - Rows are locked in the order of their ids, as everywhere, so transactions do not deadlock.
//! - File counts, archive states, and totals change in the same transaction as the downloads.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::metrics::TIME_TO_STORED;
use crate::domain::{ArchiveState, FileCounts, Kind, Notification, Progress, Status};
use crate::feed::Outbox;
use crate::runtime::Tallies;

/// A locked render.
#[derive(Debug)]
pub(super) struct LockedRender {
    kind: Option<Kind>,
    status: Option<Status>,
    shortage_confirmed: bool,
    before: FileCounts,
    /// When it was recorded as complete.
    completed_at: Option<DateTime<Utc>>,
    /// The file counts, to be updated as downloads change.
    pub(super) files: FileCounts,
    /// Whether a poll was already requested.
    pub(super) poll_requested: bool,
    /// When it was last polled.
    pub(super) polled_at: Option<DateTime<Utc>>,
    /// Whether this transaction requests a poll.
    pub(super) request_poll: bool,
}

/// The locked renders of a transaction, by id.
#[derive(Debug)]
pub(super) struct LockedRenders(BTreeMap<String, LockedRender>);

impl LockedRenders {
    /// Locks the renders with these ids, which may be repeated and in any order.
    pub(super) async fn lock(transaction: &mut PgConnection, ids: &[&str]) -> sqlx::Result<Self> {
        let rows = sqlx::query!(
            "SELECT id, kind, status, files_total, files_stored, files_failed, image_count, shortage_confirmed, poll_requested,
                 polled_at,
                 (SELECT at FROM transitions WHERE render_id = renders.id AND to_status = 'complete') AS completed_at
             FROM renders WHERE id = ANY ($1::text[]) ORDER BY id FOR UPDATE",
            ids as _,
        );
        let rows = rows.fetch_all(transaction).await?.into_iter().map(|row| {
            let files =
                FileCounts { total: row.files_total, stored: row.files_stored, failed: row.files_failed, missing: 0 };
            // A CHECK allows no other kind.
            let files = row.kind.parse().map_or(files, |kind| files.with_announced(kind, row.image_count));
            let render = LockedRender {
                kind: row.kind.parse().ok(),
                completed_at: row.completed_at,
                status: row.status.and_then(|status| status.parse().ok()),
                shortage_confirmed: row.shortage_confirmed,
                before: files,
                files,
                poll_requested: row.poll_requested,
                polled_at: row.polled_at,
                request_poll: false,
            };
            (row.id, render)
        });
        Ok(Self(rows.collect()))
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut LockedRender> {
        self.0.get_mut(id)
    }

    /// Adds what the feed reports of the renders.
    pub(super) fn report<'a>(&'a self, outbox: &mut Outbox<'a>) {
        for (id, render) in &self.0 {
            let LockedRender { status, shortage_confirmed, .. } = *render;
            let progress = |files| Progress { status, files, shortage_confirmed };
            outbox.extend(id, Notification::of_files(progress(render.before), progress(render.files)));
        }
    }

    /// Counts the renders whose last file is stored with these changes. Call it after the commit.
    pub(super) fn count_stored(&self, now: DateTime<Utc>) {
        for render in self.0.values() {
            let [before, after] = [render.before, render.files].map(|files| ArchiveState::of(render.status, files));
            let is_news = before != ArchiveState::Stored && after == ArchiveState::Stored;
            if let (true, Some(kind), Some(completed_at)) = (is_news, render.kind, render.completed_at) {
                TIME_TO_STORED.observe((kind,), (now - completed_at).as_seconds_f64().max(0.0));
            }
        }
    }

    /// Writes the changes, and adds them to the `tallies`.
    pub(super) async fn write(
        &self,
        transaction: &mut PgConnection,
        tallies: &mut Tallies,
        now: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        self.request_polls(transaction, now).await?;
        self.write_files(transaction, tallies).await
    }

    async fn write_files(&self, transaction: &mut PgConnection, tallies: &mut Tallies) -> sqlx::Result<()> {
        let changed: Vec<_> = self.0.iter().filter(|(_, render)| render.files != render.before).collect();
        if changed.is_empty() {
            return Ok(());
        }
        for (_, render) in &changed {
            tallies.add_files(render.before, render.files);
        }
        let column = |value: fn(&LockedRender) -> i32| changed.iter().map(|(_, it)| value(it)).collect::<Vec<_>>();
        let ids: Vec<_> = changed.iter().map(|(id, _)| id.as_str()).collect();
        let archive: Vec<_> = changed.iter().map(|(_, it)| ArchiveState::of(it.status, it.files).as_str()).collect();
        let written = sqlx::query!(
            "UPDATE renders AS r
             SET files_stored = n.stored, files_failed = n.failed, archive = n.archive
             FROM unnest($1::text[], $2::int4[], $3::int4[], $4::text[]) AS n (id, stored, failed, archive)
             WHERE r.id = n.id",
            &ids as _,
            &column(|render| render.files.stored),
            &column(|render| render.files.failed),
            &archive as _,
        );
        written.execute(transaction).await.map(drop)
    }

    async fn request_polls(&self, transaction: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<()> {
        let wanted = self.0.iter().filter(|(_, render)| render.request_poll && !render.poll_requested);
        let ids: Vec<_> = wanted.map(|(id, _)| id.as_str()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let requested = sqlx::query!(
            "UPDATE renders SET poll_requested = true, poll_due_at = least(poll_due_at, $2), poll_attempts = 0
             WHERE id = ANY ($1::text[])",
            &ids as _,
            now,
        );
        requested.execute(transaction).await.map(drop)
    }
}
