//! Wakes tasks that wait for a change in the database.
//!
//! Postgres notifies every process of changes (`NOTIFY`), so workers start and applications are answered without delay.
//! Notifications only save time: every task that waits here also polls every few seconds, so nothing is missed while the
//! listening connection is down, or if no connection can listen.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgNotification};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::timeout;

use crate::domain::RenderId;
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
    renders: broadcast::Sender<RenderId>,
}

impl Default for Wakeups {
    fn default() -> Self {
        Self {
            downloads: Notify::new(),
            polls: Notify::new(),
            notifications: Notify::new(),
            feed: watch::Sender::new(()),
            renders: broadcast::Sender::new(256),
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
    /// The channel for changed renders. The payload is the render's id.
    pub(crate) const RENDERS: &str = "renderhook_renders";

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

    /// Subscribes to changes of renders. Subscribe before reading a render, so that no change is missed in between.
    #[must_use]
    pub fn subscribe_to_renders(&self) -> RenderChanges {
        RenderChanges(self.renders.subscribe())
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
        listener.listen_all([Self::DOWNLOADS, Self::POLLS, Self::RENDERS, Self::FEED]).await?;
        // Something may have changed before this connection listened.
        self.downloads.notify_one();
        self.polls.notify_one();
        self.notifications.notify_one();
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
        match (notification.channel(), notification.payload().parse()) {
            (Self::DOWNLOADS, _) => self.downloads.notify_one(),
            (Self::POLLS, _) => self.polls.notify_one(),
            (Self::FEED, _) => {
                self.notifications.notify_one();
                self.feed.send_replace(());
            }
            // OK to ignore: sending fails if there is no subscriber.
            (Self::RENDERS, Ok(id)) => drop(self.renders.send(id)),
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

/// A subscription to changes of renders.
#[derive(Debug)]
pub struct RenderChanges(broadcast::Receiver<RenderId>);

impl RenderChanges {
    /// Waits until render `id` may have changed.
    pub async fn wait_for(&mut self, id: &RenderId) {
        loop {
            match self.0.recv().await {
                Ok(changed) if changed == *id => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                // OK to wait forever: the sender lives as long as the process, and callers also have a timer.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
