//! One download, from its claim to its settlement.
//!
//! The file streams from its server into the store, hashed on the way; then the row says that it is stored. Guaranteed:
//! a row says `stored` only after the store has the object whole; a worker that lost its lease settles nothing; one that
//! is told to stop gives its claim back. Whatever ends a download in between leaves the row leased, and the end of the
//! lease puts it up again: doing it twice writes the same object.

mod settle;
mod transfer;

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::info;

use self::transfer::Ended;
use crate::clock::Clock;
use crate::database::{BACKGROUND, Database};
use crate::event::SignedUrl;
use crate::fetch::Fetcher;
use crate::log::LogEvent;
use crate::queue::{self, Claimed, LeaseLost};
use crate::store::Store;

/// What every download needs.
#[derive(Debug)]
pub struct Downloader {
    /// Where the rows are.
    pub database: Database,
    /// Where the files go.
    pub store: Store,
    /// How they come.
    pub fetcher: Fetcher,
    /// What time it is.
    pub clock: Clock,
    /// How long a claim lasts without renewal.
    pub lease: Duration,
    /// How many attempts a download has.
    pub max_attempts: u32,
}

impl Downloader {
    /// Sees one claimed download through. `stop` asks to give it back.
    pub async fn carry(&self, claimed: Claimed, stop: &CancellationToken) {
        let begun = self.clock.now();
        say_started(&claimed);
        let stop = stop.child_token();
        let done = CancellationToken::new();
        let transfer = async {
            let ended = transfer::run(self, &claimed, &stop).await;
            done.cancel();
            ended
        };
        let (ended, held) = tokio::join!(transfer, self.keep_lease(&claimed, &stop, &done));
        let ended = if held.is_err() { Ended::LeaseLost } else { ended };
        settle::settle(self, &claimed, ended, begun, &stop).await;
    }

    /// Renews the lease while the transfer lives; ends with it, or once the lease is lost, which stops the transfer.
    async fn keep_lease(
        &self,
        claimed: &Claimed,
        stop: &CancellationToken,
        done: &CancellationToken,
    ) -> Result<(), LeaseLost> {
        while done.run_until_cancelled(tokio::time::sleep(self.lease / 3)).await.is_some() {
            // A database that is away renews nothing, and lets nobody take over either.
            if let Err(lost) = self.renew(claimed).await {
                stop.cancel();
                return Err(lost);
            }
        }
        Ok(())
    }

    async fn renew(&self, claimed: &Claimed) -> Result<(), LeaseLost> {
        let until = self.clock.now() + self.lease;
        let renewed = queue::renew(self.database.pool(), &claimed.lease, until);
        self.database.within(BACKGROUND, renewed).await.unwrap_or(Ok(()))
    }
}

fn say_started(claimed: &Claimed) {
    let (event, message) = if claimed.taken_over {
        (LogEvent::DownloadTakenOver, "took over the download of a worker that is gone")
    } else {
        (LogEvent::DownloadStarted, "started a download")
    };
    info!(
        event = %event,
        render.id = %claimed.lease.render_id(),
        download.index = claimed.lease.index(),
        attempt = claimed.attempt,
        url.host = claimed.url.as_ref().map(SignedUrl::host).unwrap_or_default(),
        "{message}"
    );
}
