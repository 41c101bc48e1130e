//! What a batch writes: the new state of each download, and the wake-up calls.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::attempt::LeasedAttempt;
use super::decide::Settlement;
use crate::archive::locked_renders::LockedRender;
use crate::archive::queue::{Reason, StoredObject};
use crate::domain::{DownloadState, Notification};
use crate::feed::Outbox;
use crate::runtime::{Wakeups, composite_type};

/// The rows of a batch as they are to be.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    rows: Vec<SettledRow<'a>>,
    /// The channels to notify.
    wakeups: Vec<&'static str>,
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
                self.wake(Wakeups::POLLS);
            }
            Settlement::TryNewUrl { .. } | Settlement::Release => self.wake(Wakeups::DOWNLOADS),
            Settlement::Retry { .. } | Settlement::Postpone { .. } | Settlement::GoAhead => {}
        }
    }

    fn wake(&mut self, channel: &'static str) {
        if !self.wakeups.contains(&channel) {
            self.wakeups.push(channel);
        }
    }

    /// Writes the rows and ends their leases, and sends the wake-up calls.
    pub(super) async fn write(&self, transaction: &mut PgConnection) -> sqlx::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let written = sqlx::query_file!(
            "src/archive/settlement/write_settled.sql",
            &self.rows.iter().map(WrittenSettlement::of).collect::<Vec<_>>() as _,
            &self.wakeups as _,
        );
        let settled = written.fetch_one(transaction).await?.settled;
        debug_assert_eq!(usize::try_from(settled).ok(), Some(self.rows.len()), "the rows are locked");
        Ok(())
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
}

/// A row of `downloads`, as the composite type of Postgres.
#[derive(sqlx::Encode)]
struct WrittenSettlement<'a> {
    render_id: &'a str,
    index: i32,
    state: &'a str,
    due_at: Option<DateTime<Utc>>,
    ready: bool,
    attempts: i32,
    error_code: Option<&'a str>,
    error_message: Option<&'a str>,
    content_type: Option<&'a str>,
    size_bytes: Option<i64>,
    sha256: Option<&'a str>,
    stored_at: Option<DateTime<Utc>>,
    delete_after_store: bool,
    updated_at: DateTime<Utc>,
}

composite_type!(WrittenSettlement<'_>, "written_settlement");

impl<'a> WrittenSettlement<'a> {
    fn of(row: &'a SettledRow<'_>) -> Self {
        let (error, object) = (row.error.as_ref(), row.object.as_ref());
        Self {
            render_id: row.render_id,
            index: row.index,
            state: row.state.as_str(),
            due_at: row.due_at,
            ready: row.due_at.is_some_and(|due_at| due_at <= row.at),
            attempts: row.attempts.cast_signed(),
            error_code: error.map(|error| error.code.as_str()),
            error_message: error.map(|error| error.message.as_str()),
            content_type: object.map(|object| object.content_type.as_str()),
            size_bytes: object.map(|object| object.size_bytes.cast_signed()),
            sha256: object.map(|object| object.sha256.as_str()),
            stored_at: object.map(|_| row.at),
            delete_after_store: row.delete_after_store,
            updated_at: row.at,
        }
    }
}
