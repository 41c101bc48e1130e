//! One download, from its claim to its settlement.
//!
//! The file streams from its server into the store, hashed on the way; then the row says that it is stored. Guaranteed:
//! a row says `stored` only after the store has the object whole; a worker that lost its lease settles nothing; one that
//! is told to stop gives its claim back at once, with what the store has. Whatever ends a download in between leaves the row leased, and the end of the
//! lease puts it up again: doing it twice writes the same object.

mod keeping;
mod settle;
mod transfer;

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::settle::Settling;
use self::transfer::Ended;
use crate::archive::fetch::Fetcher;
use crate::archive::queue::{self, Claimed, LeaseLost, Reason};
use crate::archive::renewal::{self, Wish};
use crate::archive::store::Store;
use crate::domain::SignedUrl;
use crate::runtime::Clock;
use crate::runtime::LogEvent;
use crate::runtime::Shutdown;
use crate::runtime::{BACKGROUND, Database};

/// A URL that lives no longer than this is not worth beginning with, where a fresh one can be had.
const DYING: Duration = Duration::from_mins(15);

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
    /// Whether fresh URLs can be had.
    pub renews: bool,
    /// Whether the project is deleted at Magic Hour once all its files are stored.
    pub deletes: bool,
}

impl Downloader {
    /// Sees one claimed download through, or gives it back at a stop.
    pub async fn carry(&self, claimed: Claimed, shutdown: &Shutdown) {
        let begun = self.clock.now();
        let settling = Settling { downloader: self, claimed: &claimed, begun, deadline: shutdown.deadline() };
        if claimed.taken_over && claimed.attempt > self.max_attempts {
            return settling.settle(Ended::WornOut).await;
        }
        if self.waits_for_a_fresh_url(&claimed, begun).await {
            return;
        }
        say_started(&claimed);
        let stop = shutdown.asked().child_token();
        let done = CancellationToken::new();
        let transfer = async {
            let ended = Box::pin(transfer::run(self, &claimed, &stop, shutdown.deadline())).await;
            done.cancel();
            ended
        };
        let (ended, held) = tokio::join!(transfer, self.keep_lease(&claimed, &stop, &done));
        settling.settle(if held.is_err() { Ended::LeaseLost } else { ended }).await;
    }

    /// Wants a fresh URL in the place of one that is about to die, before a transfer is begun that it cannot end.
    async fn waits_for_a_fresh_url(&self, claimed: &Claimed, now: DateTime<Utc>) -> bool {
        let dying = claimed.expires_at.is_some_and(|expires_at| expires_at <= now + DYING);
        let Ok(url) = &claimed.url else { return false };
        if !dying || !self.renews {
            return false;
        }
        let reason =
            Reason { code: "url_expired".to_owned(), message: "the URL has expired or is about to".to_owned() };
        let wish = renewal::want(self.database.pool(), &claimed.lease, url, &reason, now);
        match self.database.within(BACKGROUND, wish).await {
            // Nothing fresher is to be had: it may still work.
            Ok(Ok(Wish::InVain)) | Err(_) => false,
            Ok(Ok(Wish::Taken | Wish::Fresh) | Err(LeaseLost)) => true,
        }
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
