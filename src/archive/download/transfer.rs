//! Copying a file's bytes from its server into the store, counted and hashed as they pass.
//!
//! An interrupted transfer resumes where it was, with a request for the rest of the same version of the file. If the
//! server does not support that, or the file has changed, it starts over. Checkpoints let the next attempt, or another
//! worker, resume it too.
//!
//! A stop interrupts a transfer where that loses nothing: while it waits for the server, or for the store to accept
//! more. What the store is doing at that moment is finished first, or given up at the stop's deadline.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Downloader;
use super::lease::LeaseRenewer;
use super::progress::TransferredBytes;
use crate::archive::fetch::{Failure, Fetcher, Hashes, Incoming, Origin, ResumePoint, Resumption};
use crate::archive::metrics::BYTES;
use crate::archive::queue::{ClaimedDownload, StoredObject};
use crate::archive::store::{StoreError, Upload};
use crate::domain::SignedUrl;

/// How long to wait before requesting the rest of a file.
const RESUME_DELAY: Duration = Duration::from_millis(250);
/// How often a transfer resumes within an attempt; each time it has to have received something.
const MAX_RESUMPTIONS: u32 = 20;

/// Why a transfer ended without an object.
#[derive(Debug)]
pub(super) enum Interruption {
    /// It failed, and the bytes so far are good.
    Failed(Failure),
    /// It failed, and the bytes so far are of no use.
    Spoiled(Failure),
    /// The store failed.
    Store(StoreError),
    /// The service stops.
    Stopped,
    /// Another worker has the download.
    LeaseLost,
}

impl From<Failure> for Interruption {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<StoreError> for Interruption {
    fn from(error: StoreError) -> Self {
        match Failure::local(&error) {
            Some(local) => Self::Spoiled(local),
            None => Self::Store(error),
        }
    }
}

/// What each step of an attempt needs.
#[derive(Clone, Copy)]
pub(super) struct AttemptContext<'a> {
    pub(super) downloader: &'a Downloader,
    pub(super) claimed: &'a ClaimedDownload,
    pub(super) lease: &'a LeaseRenewer<'a>,
    pub(super) progress: &'a TransferredBytes,
    /// Interrupts the transfer.
    pub(super) stop: &'a CancellationToken,
    /// Ends it, whatever it is doing.
    pub(super) deadline: &'a CancellationToken,
}

impl AttemptContext<'_> {
    /// Copies the file into the store.
    pub(super) async fn run(self) -> Result<StoredObject, Interruption> {
        let url = match &self.claimed.url {
            Ok(url) => url,
            Err(error) => return Err(Failure::permanent("invalid_url", error.to_string()).into()),
        };
        let begun = self.deadline.run_until_cancelled(Box::pin(Transfer::begin(self, url))).await;
        let mut transfer = begun.ok_or(Interruption::Stopped)??;
        match self.deadline.run_until_cancelled(transfer.complete()).await {
            Some(Ok(stored)) => Ok(stored),
            Some(Err(why)) => Err(transfer.interrupt(why).await),
            None => Err(transfer.interrupt(Interruption::Stopped).await),
        }
    }
}

/// Waits for something that loses nothing when it is interrupted.
pub(super) async fn unless_stopped<T, E: Into<Interruption>>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Interruption> {
    stop.run_until_cancelled(work).await.ok_or(Interruption::Stopped)?.map_err(Into::into)
}

/// A file on its way into the store.
pub(super) struct Transfer<'a> {
    pub(super) attempt: AttemptContext<'a>,
    pub(super) url: &'a SignedUrl,
    pub(super) incoming: Incoming,
    pub(super) origin: Origin,
    pub(super) content_type: String,
    pub(super) upload: Upload,
    pub(super) hashes: Hashes,
    /// How many bytes of the file have passed.
    pub(super) passed: u64,
    /// How many had passed at the last request. If a server then sends nothing, it gets no further request.
    pub(super) requested_at: u64,
    /// How many bytes had passed, and with which hashes, when the last part was full.
    pub(super) mark: (u64, Hashes),
    /// When the last checkpoint was saved; `None` while there is none.
    pub(super) saved_at: Option<Instant>,
    pub(super) resumptions: u32,
}

impl Transfer<'_> {
    /// Copies the rest of the file, and makes the object appear.
    async fn complete(&mut self) -> Result<StoredObject, Interruption> {
        self.copy_body().await?;
        self.compare_hashes()?;
        if !self.origin.proves_end() {
            let read = (self.passed, self.hashes.sha256());
            unless_stopped(self.attempt.stop, read_again(&self.attempt.downloader.fetcher, self.url, &read)).await?;
        }
        self.finish().await
    }

    async fn copy_body(&mut self) -> Result<(), Interruption> {
        loop {
            match unless_stopped(self.attempt.stop, self.incoming.next()).await {
                Ok(Some(bytes)) => self.write(bytes).await?,
                Ok(None) => return Ok(()),
                Err(Interruption::Failed(failure @ Failure::Transient { .. })) if self.passed > self.requested_at => {
                    self.requested_at = self.passed;
                    unless_stopped(self.attempt.stop, self.request_rest(failure)).await?;
                }
                Err(why) => return Err(why),
            }
        }
    }

    /// Resumes within the attempt. If that is impossible, the attempt fails with the failure that interrupted it.
    async fn request_rest(&mut self, failure: Failure) -> Result<(), Interruption> {
        let Some(validator) = self.origin.validator.clone().filter(|_| self.resumptions < MAX_RESUMPTIONS) else {
            return Err(failure.into());
        };
        self.resumptions += 1;
        tokio::time::sleep(RESUME_DELAY).await;
        let from = ResumePoint { offset: self.passed, validator, total: self.origin.framing.total() };
        match self.attempt.downloader.fetcher.resume(self.url, &from).await? {
            Resumption::Continued(incoming) => {
                // The answer to a range says how long the whole is, even if the first answer did not.
                self.origin.framing = incoming.origin().framing;
                self.incoming = incoming;
                Ok(())
            }
            // Another version of the file, or a server that only sends it whole: the bytes so far are of no use.
            Resumption::Restarted(_) | Resumption::Unusable => Err(Interruption::Spoiled(failure)),
        }
    }

    fn compare_hashes(&self) -> Result<(), Interruption> {
        let same = self.origin.announced.compare(&self.hashes);
        same.map_err(|mismatch| Interruption::Spoiled(Failure::transient("wrong_hash", mismatch.to_string())))
    }

    /// Hands bytes to the store, cut where its parts end.
    pub(super) async fn write(&mut self, mut bytes: Bytes) -> Result<(), Interruption> {
        while !bytes.is_empty() {
            unless_stopped(self.attempt.stop, self.upload.ready()).await?;
            let room = self.upload.room_in_part();
            let piece = bytes.split_to(room.min(bytes.len()));
            let fills = piece.len() == room;
            self.hashes.update(&piece);
            BYTES.add((), piece.len() as u64);
            self.passed += piece.len() as u64;
            self.attempt.progress.set(self.passed, self.origin.framing.total());
            self.upload.write(piece).await?;
            if fills {
                self.mark = (self.passed, self.hashes.clone());
                self.save_checkpoint_if_due().await?;
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<StoredObject, Interruption> {
        // A worker that lost its lease leaves the object's place to its successor.
        if !self.attempt.lease.is_not_lost().await {
            return Err(Interruption::LeaseLost);
        }
        self.upload.finish(self.attempt.lease.held_until()).await?;
        Ok(StoredObject {
            content_type: self.content_type.clone(),
            size_bytes: self.passed,
            sha256: self.hashes.sha256(),
        })
    }
}

/// Reads the file a second time and compares its length and SHA-256. If nothing but the end of the connection marks the
/// end of a file, a server that died halfway looks like one that is done.
async fn read_again(fetcher: &Fetcher, url: &SignedUrl, first: &(u64, String)) -> Result<(), Interruption> {
    let mut again = fetcher.open(url).await.map_err(Interruption::Spoiled)?;
    let (mut hashes, mut length) = (Hashes::new(&again.origin().announced), 0);
    while let Some(bytes) = again.next().await.map_err(Interruption::Spoiled)? {
        hashes.update(&bytes);
        length += bytes.len() as u64;
    }
    if (length, hashes.sha256()) == *first {
        return Ok(());
    }
    let message = format!(
        "the server announced neither a length nor a hash, and two reads differ: {} and {length} bytes",
        first.0
    );
    Err(Interruption::Spoiled(Failure::transient("unproven_end", message)))
}
