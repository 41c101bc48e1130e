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
use crate::runtime::{Tallies, Tally, Wakeups};

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

    /// Counts those of `posted` types in the totals, which are written before the notifications.
    pub fn add_to(&self, tallies: &mut Tallies, posted: PostedTypes) {
        let count = self.rows.iter().filter(|(_, it)| posted.contains(it.notification_type())).count();
        tallies.add(Tally::Notifications(NotificationState::Pending), i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Writes them; those of `posted` types are to be posted. Call it as the last statement of the transaction: its
    /// lock is held until the commit, and whatever waits for the lock holds locks of its own.
    pub async fn write(
        self,
        transaction: &mut PgConnection,
        posted: PostedTypes,
        now: DateTime<Utc>,
    ) -> sqlx::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let statuses = |it: Notification| match it {
            Notification::Moved { from, to } => (from.map(Status::as_str), Some(to.as_str())),
            _ => (None, None),
        };
        let index = |it: Notification| match it {
            Notification::DownloadStored { index } | Notification::DownloadFailed { index } => Some(index),
            _ => None,
        };
        let each = || self.rows.iter().map(|(_, it)| *it);
        let written = sqlx::query_file!(
            "src/feed/write_notifications.sql",
            now,
            &each().map(|_| Uuid::new_v4()).collect::<Vec<_>>(),
            &self.rows.iter().map(|(render_id, _)| *render_id).collect::<Vec<_>>() as _,
            &each().map(|it| it.notification_type().as_str()).collect::<Vec<_>>() as _,
            &each().map(|it| statuses(it).0).collect::<Vec<_>>() as _,
            &each().map(|it| statuses(it).1).collect::<Vec<_>>() as _,
            &each().map(index).collect::<Vec<_>>() as _,
            &each().map(|it| posted.contains(it.notification_type())).collect::<Vec<_>>(),
            ADVISORY_LOCK,
            Wakeups::FEED,
        );
        written.execute(transaction).await.map(drop)
    }
}
