//! What the store has of a file on its way, kept in `partials`: written now and then and at the end of an attempt, so
//! that the next attempt, or another worker, goes on with it or ends it.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::warn;

use super::Downloader;
use super::transfer::{Ended, Transfer, unless_stopped};
use crate::archive::checkpoint::{self, Partial};
use crate::archive::fetch::Failure;
use crate::archive::fetch::digest::Hashes;
use crate::archive::queue::Claimed;
use crate::archive::store::StoreError;
use crate::runtime::BACKGROUND;
use crate::runtime::LogEvent;

/// How long an attempt may take at its end to keep what the store has, and at a stop to end it.
const LAST_KEEP: Duration = Duration::from_secs(2);

impl Transfer<'_> {
    pub(super) async fn keep_now_and_then(&mut self) -> Result<(), Ended> {
        match self.kept_at {
            // Before the first part is on its way, so that an upload is known before there is anything in it.
            None => self.keep(0).await,
            // As often as the lease is renewed: a dead worker's successor waits for longer than it has to fetch again.
            Some(at) if at.elapsed() >= self.downloader.lease / 3 => {
                unless_stopped(self.stop, self.upload.flush()).await?;
                self.keep(self.mark.0).await
            }
            Some(_) => Ok(()),
        }
    }

    /// Keeps in `partials` that the store has `bytes` for good, if it is a store that can be gone on with.
    pub(super) async fn keep(&mut self, bytes: u64) -> Result<(), Ended> {
        let Some(upload) = self.upload.save().await? else { return Ok(()) };
        let hashes = if bytes == self.mark.0 { &self.mark.1 } else { &Hashes::new(&self.origin.announced) };
        let partial = Partial {
            upload,
            bytes,
            hashes: hashes.keep(),
            validator: self.origin.validator.clone(),
            total: self.origin.total,
            path: self.url.expose().path().to_owned(),
            content_type: self.content_type.clone(),
        };
        let (database, now) = (&self.downloader.database, self.downloader.clock.now());
        let kept = checkpoint::keep(database.pool(), &self.claimed.lease, &partial, now);
        match database.within(BACKGROUND, kept).await {
            Ok(held) => held?,
            // A database that is away keeps nothing now; what was kept before still holds.
            Err(_) => return Ok(()),
        }
        self.kept_at = Some(Instant::now());
        Ok(())
    }

    /// Leaves what the next attempt can go on with, and else no trace.
    pub(super) async fn break_off(mut self, ended: Ended) -> Ended {
        let stopped = matches!(ended, Ended::Stopped);
        let useful = match &ended {
            // The successor has what was kept, and ends or goes on with it.
            Ended::LeaseLost if self.kept_at.is_some() => return ended,
            Ended::Stopped | Ended::Failed(Failure::Transient { .. } | Failure::Expired { .. }) => {
                self.mark.0 > 0 && self.origin.validator.is_some()
            }
            _ => false,
        };
        if useful {
            let kept = timeout(LAST_KEEP, self.keep_all()).await;
            // A stop waits for no store that hangs: what was kept before holds.
            if self.kept_at.is_some() && (stopped || matches!(kept, Ok(Ok(())))) {
                return ended;
            }
        }
        let (downloader, claimed, known) = (self.downloader, self.claimed, self.kept_at.is_some());
        let aborted = self.upload.abort();
        let aborted = if stopped { timeout(LAST_KEEP, aborted).await } else { Ok(aborted.await) };
        match aborted {
            Ok(Ok(())) => downloader.forget(claimed).await,
            // Not forgotten: the next attempt ends it.
            Ok(Err(error)) if known => warn!(
                event = %LogEvent::StoreFailed, render.id = %claimed.lease.render_id(), error = %error,
                "the store did not end an upload: the next attempt does"
            ),
            // The next attempt ends it as well; or nobody knows of it: a part in a folder, which the next writer removes.
            Ok(Err(_)) | Err(_) => {}
        }
        ended
    }

    async fn keep_all(&mut self) -> Result<(), Ended> {
        self.upload.flush().await?;
        self.keep(self.mark.0).await
    }
}

impl Downloader {
    /// Ends what earlier attempts left, if they left something.
    pub(super) async fn discard(&self, claimed: &Claimed) {
        let found = checkpoint::find(self.database.pool(), &claimed.lease);
        if let Ok(Some(partial)) = self.database.within(BACKGROUND, found).await {
            // What cannot be ended now stays known, for who puts the download back in the queue.
            let _ = self.end(claimed, &partial).await;
        }
    }

    pub(super) async fn end(&self, claimed: &Claimed, partial: &Partial) -> Result<(), StoreError> {
        self.store.discard(&claimed.key, &partial.upload).await?;
        self.forget(claimed).await;
        Ok(())
    }

    pub(super) async fn forget(&self, claimed: &Claimed) {
        // What cannot be forgotten now names an upload that is gone, which the next attempt finds out and starts over.
        let _ = self.database.within(BACKGROUND, checkpoint::forget(self.database.pool(), &claimed.lease)).await;
    }
}
