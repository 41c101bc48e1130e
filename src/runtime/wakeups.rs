//! Wakes up what waits for a change in the database.
//!
//! Postgres notifies every process of a change (`NOTIFY`), so that a worker starts and an application is answered at
//! once. It is a convenience and no more: whatever waits here also looks by itself every few seconds, and misses nothing
//! while the connection that listens is down, or where no connection can listen.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgNotification};
use tokio::sync::{Notify, broadcast};
use tokio::time::timeout;

use crate::domain::RenderId;
use crate::runtime::database::Database;
use crate::runtime::shutdown::Shutdown;

/// How long to wait before listening again after the connection was lost.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// How long the connection may be silent before it is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(30);
/// How long it may take to answer that.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The wake-up calls of this process.
#[derive(Debug)]
pub struct Wakeups {
    downloads: Notify,
    polls: Notify,
    renders: broadcast::Sender<RenderId>,
}

impl Default for Wakeups {
    fn default() -> Self {
        Self { downloads: Notify::new(), polls: Notify::new(), renders: broadcast::Sender::new(256) }
    }
}

/// Why listening ended.
enum Ended {
    /// No connection keeps a session, so none can listen.
    NoSession,
    /// The connection was lost.
    Lost,
}

impl Wakeups {
    /// The channel that says that downloads may have fallen due.
    pub(crate) const DOWNLOADS: &str = "renderhook_downloads";
    /// The channel that says that renders are to be polled.
    pub(crate) const POLLS: &str = "renderhook_polls";
    /// The channel that carries the ids of changed renders.
    pub(crate) const RENDERS: &str = "renderhook_renders";

    /// Returns once downloads may have fallen due since the last call.
    pub async fn downloads(&self) {
        self.downloads.notified().await;
    }

    /// Returns once a render may have to be polled since the last call.
    pub async fn polls(&self) {
        self.polls.notified().await;
    }

    /// The renders that change from now on: subscribe before looking at one.
    #[must_use]
    pub fn renders(&self) -> Changes {
        Changes(self.renders.subscribe())
    }

    /// Passes on what Postgres notifies of, until it is time to stop.
    pub async fn listen(&self, database: &Database, shutdown: &Shutdown) {
        let listening = async {
            while let Ended::Lost = self.listen_once(database).await {
                tokio::time::sleep(LISTEN_AGAIN).await;
            }
            shutdown.stopping().await;
        };
        shutdown.asked().run_until_cancelled(listening).await;
    }

    async fn listen_once(&self, database: &Database) -> Ended {
        let Some(listener) = database.listener().await else { return Ended::NoSession };
        // OK to ignore: whatever needs the database reports that it cannot be reached.
        if let Ok(listener) = listener {
            let _ = self.pass_on(listener).await;
        }
        Ended::Lost
    }

    /// Passes on notifications until the connection is lost.
    async fn pass_on(&self, mut listener: PgListener) -> sqlx::Result<()> {
        listener.listen_all([Self::DOWNLOADS, Self::POLLS, Self::RENDERS]).await?;
        // Something may have changed before this connection listened.
        self.downloads.notify_one();
        self.polls.notify_one();
        loop {
            match timeout(SILENCE, listener.try_recv()).await {
                Ok(Ok(Some(notification))) => self.wake(&notification),
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_elapsed) => {
                    let heartbeat = timeout(HEARTBEAT, sqlx::raw_sql("SELECT 1").execute(&mut listener)).await;
                    heartbeat.map_err(|_elapsed| sqlx::Error::PoolTimedOut)??;
                }
            }
        }
    }

    fn wake(&self, notification: &PgNotification) {
        match (notification.channel(), notification.payload().parse()) {
            (Self::DOWNLOADS, _) => self.downloads.notify_one(),
            (Self::POLLS, _) => self.polls.notify_one(),
            // OK to drop a change that nothing waits for.
            (Self::RENDERS, Ok(id)) => drop(self.renders.send(id)),
            _ => {}
        }
    }
}

/// The renders that change.
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<RenderId>);

impl Changes {
    /// Returns once render `id` may have changed.
    pub async fn of(&mut self, id: &RenderId) {
        loop {
            match self.0.recv().await {
                Ok(changed) if changed == *id => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                // OK because the sender lives as long as the process, and whatever waits also has a timer.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
