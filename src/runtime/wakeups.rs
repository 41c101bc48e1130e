//! Wakes tasks that wait for a change in the database.
//!
//! Postgres notifies every process of changes (`NOTIFY`), so workers start and applications are answered without delay.
//! Notifications only save time: every task that waits here also polls every few seconds, so nothing is missed while the
//! listening connection is down, or if no connection can listen.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgNotification};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::runtime::database::Database;
use crate::runtime::shutdown::Shutdown;

/// How long to wait before listening again after the connection was lost.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// How long the connection may be silent before a heartbeat is sent.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
/// How long the answer to a heartbeat may take.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(5);

/// This process's subscribers to changes.
#[derive(Debug)]
pub struct Wakeups {
    downloads: Notify,
    polls: Notify,
    notifications: Notify,
    feed: watch::Sender<()>,
}

impl Default for Wakeups {
    fn default() -> Self {
        Self {
            downloads: Notify::new(),
            polls: Notify::new(),
            notifications: Notify::new(),
            feed: watch::Sender::new(()),
        }
    }
}

/// Why listening ended.
enum Ended {
    /// Only a pooler in transaction mode is available, so LISTEN does not work.
    NoSession,
    /// The connection was lost.
    ConnectionLost,
}

impl Wakeups {
    /// The channel for downloads that may be due.
    pub(crate) const DOWNLOADS: &str = "renderhook_downloads";
    /// The channel for renders that should be polled.
    pub(crate) const POLLS: &str = "renderhook_polls";
    /// The channel for new notifications in the feed.
    pub(crate) const FEED: &str = "renderhook_feed";

    /// Waits until downloads may have become due since the last call.
    pub async fn wait_for_downloads(&self) {
        self.downloads.notified().await;
    }

    /// Waits until a render may have to be polled since the last call.
    pub async fn wait_for_polls(&self) {
        self.polls.notified().await;
    }

    /// Waits until notifications may have become due since the last call.
    pub async fn wait_for_notifications(&self) {
        self.notifications.notified().await;
    }

    /// Subscribes to the growth of the feed. Subscribe before reading a page, so that nothing is missed in between.
    #[must_use]
    pub fn subscribe_to_feed(&self) -> FeedGrowth {
        FeedGrowth(self.feed.subscribe())
    }

    /// Forwards notifications from Postgres until a stop is requested.
    pub async fn listen(&self, database: &Database, shutdown: &Shutdown) {
        let listening = async {
            while let Ended::ConnectionLost = self.listen_once(database).await {
                tokio::time::sleep(RECONNECT_DELAY).await;
            }
            shutdown.wait_for_stop().await;
        };
        shutdown.requested().run_until_cancelled(listening).await;
    }

    async fn listen_once(&self, database: &Database) -> Ended {
        let Some(listener) = database.listener().await else { return Ended::NoSession };
        // OK to ignore: statements detect and log an outage.
        if let Ok(listener) = listener {
            let _ = self.forward(listener).await;
        }
        Ended::ConnectionLost
    }

    /// Forwards notifications until the connection is lost.
    async fn forward(&self, mut listener: PgListener) -> sqlx::Result<()> {
        listener.listen_all([Self::DOWNLOADS, Self::POLLS, Self::FEED]).await?;
        // Something may have changed before this connection listened.
        self.downloads.notify_one();
        self.polls.notify_one();
        self.notifications.notify_one();
        self.feed.send_replace(());
        loop {
            match timeout(HEARTBEAT_INTERVAL, listener.try_recv()).await {
                Ok(Ok(Some(notification))) => self.wake(&notification),
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_elapsed) => {
                    let heartbeat = timeout(HEARTBEAT_TIMEOUT, sqlx::raw_sql("SELECT 1").execute(&mut listener)).await;
                    heartbeat.map_err(|_elapsed| sqlx::Error::PoolTimedOut)??;
                }
            }
        }
    }

    fn wake(&self, notification: &PgNotification) {
        match notification.channel() {
            Self::DOWNLOADS => self.downloads.notify_one(),
            Self::POLLS => self.polls.notify_one(),
            Self::FEED => {
                self.notifications.notify_one();
                self.feed.send_replace(());
            }
            _ => {}
        }
    }
}

/// A subscription to the growth of the feed.
#[derive(Debug)]
pub struct FeedGrowth(watch::Receiver<()>);

impl FeedGrowth {
    /// Waits until the feed may have grown.
    pub async fn wait(&mut self) {
        if self.0.changed().await.is_err() {
            // OK to wait forever: the sender lives as long as the process, and callers also have a timer.
            std::future::pending::<()>().await;
        }
    }
}
