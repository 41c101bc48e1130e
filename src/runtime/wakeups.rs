//! Who waits, and what wakes them.
//!
//! Postgres tells every process of a change (`NOTIFY`), so that a worker starts and an application is answered at once.
//! It is a convenience and no more: whoever waits here also looks by itself every few seconds, and misses nothing while
//! the connection that listens is down.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::{Notify, broadcast};

use crate::domain::RenderId;
use crate::runtime::database::Database;
use crate::runtime::shutdown::Shutdown;

/// How long to wait before listening again after the connection was lost.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

const DOWNLOADS: &str = "renderhook_downloads";
const POLLS: &str = "renderhook_polls";
const RENDERS: &str = "renderhook_renders";

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

impl Wakeups {
    /// Returns once downloads may have fallen due since the last call.
    pub async fn downloads(&self) {
        self.downloads.notified().await;
    }

    /// Returns once somebody may want to know something of Magic Hour since the last call.
    pub async fn polls(&self) {
        self.polls.notified().await;
    }

    /// Tells of changed renders from now on: take it before you look.
    #[must_use]
    pub fn renders(&self) -> Changes {
        Changes(self.renders.subscribe())
    }

    /// Passes on what Postgres tells, until it is time to stop.
    pub async fn listen(&self, database: &Database, shutdown: &Shutdown) {
        while !shutdown.is_stopping() {
            tokio::select! {
                () = shutdown.stopping() => {}
                // Why it ended is of no interest: a database that is away is told by who needs it.
                _ended = self.listen_once(database) => {
                    tokio::select! {
                        () = shutdown.stopping() => {}
                        () = tokio::time::sleep(LISTEN_AGAIN) => {}
                    }
                }
            }
        }
    }

    async fn listen_once(&self, database: &Database) -> sqlx::Result<()> {
        let mut listener = PgListener::connect_with(database.pool()).await?;
        listener.listen_all([DOWNLOADS, POLLS, RENDERS]).await?;
        // Something may have been told before this connection listened.
        self.downloads.notify_one();
        self.polls.notify_one();
        while let Some(notification) = listener.try_recv().await? {
            match (notification.channel(), notification.payload().parse()) {
                (DOWNLOADS, _) => self.downloads.notify_one(),
                (POLLS, _) => self.polls.notify_one(),
                // OK to drop what nobody waits for.
                (RENDERS, Ok(id)) => drop(self.renders.send(id)),
                _ => {}
            }
        }
        Ok(())
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
                // OK because the sender lives as long as the process; whoever waits also has a timer.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
