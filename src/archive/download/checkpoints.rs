//! Saves the state of a partial upload, at intervals and at the end of an attempt, so that the next attempt or another worker
//! can resume or abort the upload.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::warn;

use super::Downloader;
use super::lease::LeaseRenewer;
use super::transfer::{AttemptContext, Interruption, Transfer, unless_stopped};
use crate::archive::checkpoint::{self, Checkpoint};
use crate::archive::fetch::{Failure, Hashes};
use crate::archive::queue::{ClaimedDownload, LeaseError};
use crate::archive::store::StoreError;
use crate::runtime::LogEvent;

/// The time limit for the last checkpoint of an attempt, and for a stop to abort an upload.
const LAST_SAVE: Duration = Duration::from_secs(2);

impl Transfer<'_> {
    pub(super) async fn save_checkpoint_if_due(&mut self) -> Result<(), Interruption> {
        match self.saved_at {
            // Before the first part is sent, so that an upload is known before there is anything in it.
            None => self.save_checkpoint(0).await,
            // As often as the lease is renewed: a dead worker's successor waits longer than that for the lease.
            Some(at) if at.elapsed() >= self.attempt.downloader.lease / 3 => {
                unless_stopped(self.attempt.stop, self.upload.flush()).await?;
                self.save_checkpoint(self.mark.0).await
            }
            Some(_) => Ok(()),
        }
    }

    /// Saves that the store has `bytes` durably, if the store can resume an upload.
    pub(super) async fn save_checkpoint(&mut self, bytes: u64) -> Result<(), Interruption> {
        let Some(upload) = self.upload.save().await? else { return Ok(()) };
        let hashes = if bytes == self.mark.0 { &self.mark.1 } else { &Hashes::new(&self.origin.announced) };
        let checkpoint = Checkpoint {
            upload,
            bytes,
            hashes: hashes.save(),
            validator: self.origin.validator.clone(),
            total: self.origin.framing.total(),
            path: self.url.expose().path().to_owned(),
            content_type: self.content_type.clone(),
        };
        let (database, now) = (&self.attempt.downloader.database, self.attempt.downloader.clock.now());
        match checkpoint::save(database, &self.attempt.claimed.lease, &checkpoint, now).await {
            Ok(()) => self.saved_at = Some(Instant::now()),
            Err(LeaseError::Lost) => return Err(Interruption::LeaseLost),
            // Without a database nothing is saved now. The last checkpoint is still valid.
            Err(LeaseError::Database(_)) => {}
        }
        Ok(())
    }

    /// Leaves what the next attempt can resume, or else nothing.
    pub(super) async fn interrupt(mut self, why: Interruption) -> Interruption {
        let stopped = matches!(why, Interruption::Stopped);
        let resumable = match &why {
            Interruption::Stopped
            | Interruption::Failed(Failure::Transient { .. } | Failure::Expired { .. } | Failure::Local { .. }) => {
                self.mark.0 > 0 && self.origin.validator.is_some()
            }
            Interruption::Failed(Failure::Permanent { .. })
            | Interruption::Spoiled(_)
            | Interruption::Store(_)
            | Interruption::LeaseLost => false,
        };
        if resumable {
            let saved = timeout(LAST_SAVE, self.save_last_checkpoint()).await;
            // A stop does not wait for a store that hangs: the last checkpoint is valid.
            if self.saved_at.is_some() && (stopped || matches!(saved, Ok(Ok(())))) {
                return why;
            }
        }
        self.abort(why).await
    }

    async fn save_last_checkpoint(&mut self) -> Result<(), Interruption> {
        self.upload.flush().await?;
        self.save_checkpoint(self.mark.0).await
    }

    /// Aborts the upload. One that has a checkpoint may be aborted only under a lease that is known to be held: whoever
    /// takes the download over resumes that very upload.
    async fn abort(self, why: Interruption) -> Interruption {
        let Self { attempt: AttemptContext { downloader, claimed, lease, .. }, upload, saved_at, .. } = self;
        let has_checkpoint = saved_at.is_some();
        let limit = if matches!(why, Interruption::Stopped) { LAST_SAVE } else { downloader.lease };
        if has_checkpoint && !matches!(timeout(limit, lease.confirm()).await, Ok(true)) {
            return why;
        }
        match timeout(limit, upload.abort()).await {
            Ok(Ok(())) => downloader.delete_checkpoint(claimed).await,
            // The checkpoint stays: the next attempt aborts the upload.
            Ok(Err(error)) if has_checkpoint => warn!(
                event = %LogEvent::StoreFailed, render.id = %claimed.lease.render_id(), error = %error,
                "the store did not abort an upload; the next attempt tries again"
            ),
            // The next attempt aborts it too; or it is a part in a folder, which the next writer removes.
            Ok(Err(_)) | Err(_) => {}
        }
        why
    }
}

impl Downloader {
    /// Removes what earlier attempts left in the store, if the lease is certainly held.
    pub(super) async fn discard_upload(&self, claimed: &ClaimedDownload) {
        let Ok(Some(checkpoint)) = checkpoint::find(&self.database, &claimed.lease).await else { return };
        if LeaseRenewer::new(self, &claimed.lease).confirm().await {
            // An upload that cannot be removed now keeps its checkpoint, for when the download is retried.
            let _ = timeout(self.lease, self.end_upload(claimed, &checkpoint)).await;
        }
    }

    pub(super) async fn end_upload(
        &self,
        claimed: &ClaimedDownload,
        checkpoint: &Checkpoint,
    ) -> Result<(), StoreError> {
        self.store.discard(&claimed.key, &checkpoint.upload).await?;
        self.delete_checkpoint(claimed).await;
        Ok(())
    }

    async fn delete_checkpoint(&self, claimed: &ClaimedDownload) {
        // OK to ignore an error: the checkpoint then names an upload that is gone, and the next attempt starts over.
        let _ = checkpoint::delete(&self.database, &claimed.lease).await;
    }
}
