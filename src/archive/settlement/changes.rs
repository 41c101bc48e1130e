//! What a batch writes: the new state of each download, and the wake-up calls.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::attempt::LeasedAttempt;
use super::decide::Settlement;
use crate::archive::locked_renders::LockedRender;
use crate::archive::queue::{Reason, StoredObject};
use crate::domain::{DownloadState, Notification};
use crate::feed::Outbox;
use crate::runtime::Wakeups;

/// The rows of a batch as they are to be.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    rows: Vec<SettledRow<'a>>,
    /// Channels and payloads.
    notifications: Vec<(&'static str, &'a str)>,
}

/// The state of a settled download.
#[derive(Debug)]
struct SettledRow<'a> {
    render_id: &'a str,
    index: i32,
    state: DownloadState,
    due_at: Option<DateTime<Utc>>,
    attempts: u32,
    error: Option<Reason>,
    object: Option<StoredObject>,
    delete_after_store: bool,
    at: DateTime<Utc>,
}

impl<'a> SettledRow<'a> {
    /// The row after a settlement; `None` if nothing changes. `last_error` is the one that it has now.
    fn after(entry: &'a LeasedAttempt, last_error: Option<Reason>, settlement: Settlement) -> Option<Self> {
        let (number, at) = (entry.attempt.number, entry.attempt.ended_at);
        let row = Self {
            render_id: &entry.render_id,
            index: entry.index,
            state: DownloadState::Pending,
            due_at: Some(at),
            attempts: number,
            error: None,
            object: None,
            delete_after_store: false,
            at,
        };
        Some(match settlement {
            Settlement::GoAhead => return None,
            Settlement::Stored(object) => {
                let (object, delete_after_store) = (Some(object), entry.attempt.deletes);
                Self { state: DownloadState::Stored, due_at: None, object, delete_after_store, ..row }
            }
            Settlement::GiveUp { attempts, reason } => {
                Self { state: DownloadState::Failed, due_at: None, attempts, error: Some(reason), ..row }
            }
            Settlement::Retry { reason, due_at } => Self { due_at: Some(due_at), error: Some(reason), ..row },
            Settlement::TryNewUrl { reason } => Self { attempts: 0, error: Some(reason), ..row },
            Settlement::AwaitUrl { reason, due_at } | Settlement::Postpone { reason, due_at } => {
                Self { due_at: Some(due_at), attempts: number - 1, error: Some(reason), ..row }
            }
            Settlement::Release => Self { attempts: number - 1, error: last_error, ..row },
        })
    }
}

impl<'a> Changes<'a> {
    /// Adds what follows from a settlement, to the download's row and to its render's.
    pub(super) fn add(
        &mut self,
        entry: &'a LeasedAttempt,
        last_error: Option<Reason>,
        render: &mut LockedRender,
        settlement: &Settlement,
    ) {
        let Some(row) = SettledRow::after(entry, last_error, settlement.clone()) else { return };
        self.rows.push(row);
        match settlement {
            Settlement::Stored(_) => render.files.stored += 1,
            Settlement::GiveUp { .. } => render.files.failed += 1,
            Settlement::AwaitUrl { .. } => {
                render.request_poll = true;
                self.notify(Wakeups::POLLS, "");
            }
            Settlement::TryNewUrl { .. } | Settlement::Release => self.notify(Wakeups::DOWNLOADS, ""),
            Settlement::Retry { .. } | Settlement::Postpone { .. } | Settlement::GoAhead => {}
        }
    }

    fn notify(&mut self, channel: &'static str, payload: &'a str) {
        let notification = (channel, payload);
        if !self.notifications.contains(&notification) {
            self.notifications.push(notification);
        }
    }

    /// Writes the rows and ends their leases, and sends the wake-up calls.
    pub(super) async fn write(&self, transaction: &mut PgConnection) -> sqlx::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.update_downloads(transaction).await?;
        self.delete_checkpoints(transaction).await?;
        self.send_notifications(transaction).await
    }

    /// What the feed reports of these downloads.
    pub(super) fn outbox(&self) -> Outbox<'a> {
        let mut outbox = Outbox::default();
        for row in &self.rows {
            let index = row.index;
            match row.state {
                DownloadState::Stored => outbox.add(row.render_id, Notification::DownloadStored { index }),
                DownloadState::Failed => outbox.add(row.render_id, Notification::DownloadFailed { index }),
                DownloadState::Pending | DownloadState::Downloading => {}
            }
        }
        outbox
    }

    fn column<'s, T>(&'s self, value: impl Fn(&'s SettledRow<'a>) -> T) -> Vec<T> {
        self.rows.iter().map(value).collect()
    }

    async fn update_downloads(&self, transaction: &mut PgConnection) -> sqlx::Result<()> {
        let updated = sqlx::query!(
            "UPDATE downloads AS d
             SET state = n.state, lease = NULL, due_at = n.due_at, ready = n.ready, attempts = n.attempts,
                 error_code = n.error_code, error_message = n.error_message, content_type = n.content_type,
                 size_bytes = n.size_bytes, sha256 = n.sha256, stored_at = n.stored_at,
                 delete_after_store = n.delete_after_store, updated_at = n.updated_at
             FROM unnest(
                 $1::text[], $2::int4[], $3::text[], $4::timestamptz[], $5::int4[], $6::text[], $7::text[], $8::text[],
                 $9::int8[], $10::text[], $11::timestamptz[], $12::bool[], $13::timestamptz[], $14::bool[]
             ) AS n (
                 render_id, index, state, due_at, attempts, error_code, error_message, content_type, size_bytes, sha256,
                 stored_at, delete_after_store, updated_at, ready
             )
             WHERE d.render_id = n.render_id AND d.index = n.index",
            &self.column(|row| row.render_id) as _,
            &self.column(|row| row.index),
            &self.column(|row| row.state.as_str()) as _,
            &self.column(|row| row.due_at) as _,
            &self.column(|row| row.attempts.cast_signed()),
            &self.column(|row| row.error.as_ref().map(|error| error.code.as_str())) as _,
            &self.column(|row| row.error.as_ref().map(|error| error.message.as_str())) as _,
            &self.column(|row| row.object.as_ref().map(|object| object.content_type.as_str())) as _,
            &self.column(|row| row.object.as_ref().map(|object| object.size_bytes.cast_signed())) as _,
            &self.column(|row| row.object.as_ref().map(|object| object.sha256.as_str())) as _,
            &self.column(|row| row.object.as_ref().map(|_| row.at)) as _,
            &self.column(|row| row.delete_after_store),
            &self.column(|row| row.at),
            &self.column(|row| row.due_at.is_some_and(|due_at| due_at <= row.at)),
        );
        updated.execute(transaction).await.map(drop)
    }

    /// A stored file has no partial upload any more.
    async fn delete_checkpoints(&self, transaction: &mut PgConnection) -> sqlx::Result<()> {
        let stored: Vec<_> = self.rows.iter().filter(|row| row.object.is_some()).collect();
        if stored.is_empty() {
            return Ok(());
        }
        let deleted = sqlx::query!(
            "DELETE FROM checkpoints AS c USING unnest($1::text[], $2::int4[]) AS stored (render_id, index)
             WHERE c.render_id = stored.render_id AND c.index = stored.index",
            &stored.iter().map(|row| row.render_id).collect::<Vec<_>>() as _,
            &stored.iter().map(|row| row.index).collect::<Vec<_>>(),
        );
        deleted.execute(transaction).await.map(drop)
    }

    async fn send_notifications(&self, transaction: &mut PgConnection) -> sqlx::Result<()> {
        if self.notifications.is_empty() {
            return Ok(());
        }
        let (channels, payloads): (Vec<_>, Vec<_>) = self.notifications.iter().copied().unzip();
        let sent = sqlx::query!(
            "SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS n (channel, payload)",
            &channels as _,
            &payloads as _,
        );
        sent.execute(transaction).await.map(drop)
    }
}
