//! Writing notifications in the transaction of what they report.
//!
//! The feed must never skip a notification: a reader that has seen position 8 will not ask for 7 again. Positions alone
//! do not promise that, because a transaction may take 7, and commit after another one that took 8. So a transaction
//! takes its positions under an advisory lock, as its last statement, and Postgres releases the lock only once the
//! commit is visible. Positions then become visible in their order. Unlike an order by transaction ids, this depends on
//! no other transaction: a backup or a long transaction elsewhere in the cluster holds nothing back, and positions
//! survive a dump and a restore.
//!
//! The price is that such commits do not overlap. They are batches, and `NOTIFY`, which they use as well, has the same
//! price.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::posted_types::PostedTypes;
use crate::domain::{Notification, NotificationState, Status};
use crate::runtime::{Tallies, Tally, Wakeups, composite_type};

/// The advisory lock under which positions are taken.
const ADVISORY_LOCK: i64 = 0x7265_6e64_6665_6564;

/// The notifications that a transaction writes.
#[derive(Debug, Default)]
pub struct Outbox<'a> {
    rows: Vec<(&'a str, Notification)>,
}

impl<'a> Outbox<'a> {
    /// Adds a notification about a render.
    pub fn add(&mut self, render_id: &'a str, notification: Notification) {
        self.rows.push((render_id, notification));
    }

    /// Adds notifications about a render, in their order.
    pub fn extend(&mut self, render_id: &'a str, notifications: impl IntoIterator<Item = Notification>) {
        self.rows.extend(notifications.into_iter().map(|it| (render_id, it)));
    }

    /// Writes them and the `tallies`; those of `posted` types are to be posted. Call it as the last statement of the
    /// transaction: its locks are held until the commit, and whatever waits for them holds locks of its own.
    pub async fn write(
        self,
        transaction: &mut PgConnection,
        mut tallies: Tallies,
        posted: PostedTypes,
        now: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        if self.rows.is_empty() {
            return tallies.write(transaction).await;
        }
        let rows: Vec<_> = self.rows.iter().map(|(id, it)| WrittenNotification::of(id, *it, posted)).collect();
        let pending = rows.iter().filter(|row| row.is_posted).count();
        tallies.add(Tally::Notifications(NotificationState::Pending), i64::try_from(pending).unwrap_or(i64::MAX));
        let (names, differences) = tallies.into_rows();
        let written = sqlx::query_file!(
            "src/feed/write_outbox.sql",
            &names,
            &differences,
            Tallies::shard(),
            ADVISORY_LOCK,
            now,
            &rows as _,
            Wakeups::FEED,
        );
        written.execute(transaction).await.map(drop)
    }
}

/// A notification as it is written.
#[derive(sqlx::Encode)]
struct WrittenNotification<'a> {
    id: Uuid,
    render_id: &'a str,
    r#type: &'a str,
    from_status: Option<&'a str>,
    to_status: Option<&'a str>,
    download_index: Option<i32>,
    is_posted: bool,
}

composite_type!(WrittenNotification<'_>, "written_notification");

impl<'a> WrittenNotification<'a> {
    fn of(render_id: &'a str, notification: Notification, posted: PostedTypes) -> Self {
        let (from, to) = match notification {
            Notification::Moved { from, to } => (from, Some(to)),
            _ => (None, None),
        };
        let download_index = match notification {
            Notification::DownloadStored { index } | Notification::DownloadFailed { index } => Some(index),
            _ => None,
        };
        Self {
            id: Uuid::new_v4(),
            render_id,
            r#type: notification.notification_type().as_str(),
            from_status: from.map(Status::as_str),
            to_status: to.map(Status::as_str),
            download_index,
            is_posted: posted.contains(notification.notification_type()),
        }
    }
}
