//! The bytes' way: from the server into the store, counted and hashed as they pass.
//!
//! A transfer that breaks off goes on where it was, by a request for the rest of the same version of the file; where
//! the server cannot do that, or the file has changed, it starts over. What the store has for good is kept in
//! `partials` now and then and at the end of an attempt, so that the next attempt, or another worker, goes on as well.
//!
//! A stop cuts a transfer off where that loses nothing: while it waits for the server, or for the store to take more.
//! What the store is doing at that moment is done first, or given up at the stop's deadline.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::Downloader;
use crate::archive::checkpoint::{self, Partial};
use crate::archive::fetch::digest::Hashes;
use crate::archive::fetch::{Answered, Failure, Incoming, Origin, Resume};
use crate::archive::media_type;
use crate::archive::queue::{Claimed, LeaseLost, Stored};
use crate::archive::store::{StoreError, Upload};
use crate::domain::SignedUrl;
use crate::runtime::BACKGROUND;
use crate::runtime::LogEvent;

/// How long to wait before asking a server for the rest.
const GO_ON: Duration = Duration::from_millis(250);
/// How often within an attempt a transfer goes on; each time it has to have got further.
const MOST_GOINGS_ON: u32 = 20;

/// How a transfer ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The object is in the store, whole.
    Stored(Stored),
    /// It is not, and what came so far is good.
    Failed(Failure),
    /// It is not, and what came so far is of no use.
    Spoiled(Failure),
    /// It was told to stop.
    Stopped,
    /// Another worker has the download.
    LeaseLost,
    /// It was not begun: as many attempts as there may be have ended with their lease.
    WornOut,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<LeaseLost> for Ended {
    fn from(_: LeaseLost) -> Self {
        Self::LeaseLost
    }
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        error!(event = %LogEvent::StoreFailed, error = message, "the store failed: check STORAGE_URL and its credentials");
        Self::Spoiled(Failure::transient("store_failed", message))
    }
}

/// Brings the file into the store. `stop` cuts it off, `deadline` ends it whatever it is doing.
pub(super) async fn run(
    downloader: &Downloader,
    claimed: &Claimed,
    stop: &CancellationToken,
    deadline: &CancellationToken,
) -> Ended {
    let url = match &claimed.url {
        Ok(url) => url,
        Err(error) => return Failure::permanent("invalid_url", error.to_string()).into(),
    };
    let begun = deadline.run_until_cancelled(Transfer::begin(downloader, claimed, url, stop)).await;
    let mut transfer = match begun {
        None => return Ended::Stopped,
        Some(Err(ended)) => return ended,
        Some(Ok(transfer)) => transfer,
    };
    match deadline.run_until_cancelled(transfer.bring()).await {
        Some(Ok(stored)) => Ended::Stored(stored),
        Some(Err(ended)) => transfer.break_off(ended).await,
        None => transfer.break_off(Ended::Stopped).await,
    }
}

/// Waits for what loses nothing when it is cut off.
pub(super) async fn unless_stopped<T, E: Into<Ended>>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Ended> {
    stop.run_until_cancelled(work).await.ok_or(Ended::Stopped)?.map_err(Into::into)
}

pub(super) struct Transfer<'a> {
    pub(super) downloader: &'a Downloader,
    pub(super) claimed: &'a Claimed,
    pub(super) url: &'a SignedUrl,
    pub(super) stop: &'a CancellationToken,
    pub(super) incoming: Incoming,
    pub(super) origin: Origin,
    pub(super) content_type: String,
    pub(super) upload: Upload,
    pub(super) hashes: Hashes,
    pub(super) passed: u64,
    /// How far the file had come when a server was last asked for it: one that brings nothing is not asked again.
    pub(super) further: u64,
    /// How far the file had come, and with which hashes, when the last part was full.
    pub(super) mark: (u64, Hashes),
    /// When the upload was last kept in `partials`; `None` while it is not there at all.
    pub(super) kept_at: Option<Instant>,
    pub(super) goings_on: u32,
}

impl<'a> Transfer<'a> {
    async fn begin(
        downloader: &'a Downloader,
        claimed: &'a Claimed,
        url: &'a SignedUrl,
        stop: &'a CancellationToken,
    ) -> Result<Self, Ended> {
        let found = checkpoint::find(downloader.database.pool(), &claimed.lease);
        let found = downloader.database.within(BACKGROUND, found).await.unwrap_or_default();
        if let Some(partial) = found {
            if let Some(transfer) = Self::go_on(downloader, claimed, url, stop, &partial).await? {
                return Ok(transfer);
            }
            unless_stopped(stop, downloader.end(claimed, &partial)).await?;
        }
        let incoming = unless_stopped(stop, downloader.fetcher.open(url)).await?;
        Self::afresh(downloader, claimed, url, stop, incoming).await
    }

    /// Starts with the first byte.
    async fn afresh(
        downloader: &'a Downloader,
        claimed: &'a Claimed,
        url: &'a SignedUrl,
        stop: &'a CancellationToken,
        mut incoming: Incoming,
    ) -> Result<Self, Ended> {
        let origin = incoming.origin().clone();
        // The first bytes say what kind of file it is where the header does not.
        let start = unless_stopped(stop, incoming.next()).await?.unwrap_or_default();
        let content_type = media_type::of(origin.content_type.as_deref(), &start, &claimed.key);
        let (at_most, token) = (incoming.at_most(), claimed.lease.token());
        let upload = downloader.store.begin(&claimed.key, &content_type, at_most, token).await?;
        let hashes = Hashes::new(&origin.announced);
        let mark = (0, hashes.clone());
        let mut transfer = Self {
            downloader,
            claimed,
            url,
            stop,
            incoming,
            origin,
            content_type,
            upload,
            hashes,
            passed: 0,
            further: 0,
            mark,
            kept_at: None,
            goings_on: 0,
        };
        match transfer.pass(start).await {
            Ok(()) => Ok(transfer),
            Err(ended) => Err(transfer.break_off(ended).await),
        }
    }

    /// Goes on with what an earlier attempt left; `None` where that cannot be.
    async fn go_on(
        downloader: &'a Downloader,
        claimed: &'a Claimed,
        url: &'a SignedUrl,
        stop: &'a CancellationToken,
        partial: &Partial,
    ) -> Result<Option<Self>, Ended> {
        let (Some(validator), Some(hashes)) = (&partial.validator, Hashes::go_on(&partial.hashes)) else {
            return Ok(None);
        };
        if partial.bytes == 0 || partial.path != url.expose().path() {
            return Ok(None);
        }
        let resume = Resume { offset: partial.bytes, validator: validator.clone(), total: partial.total };
        let answered = unless_stopped(stop, downloader.fetcher.go_on(url, &resume)).await?;
        let Answered::GoesOn(incoming) = answered else { return Ok(None) };
        let resumed = downloader.store.resume(
            &claimed.key,
            &partial.content_type,
            &partial.upload,
            partial.bytes,
            claimed.lease.token(),
        );
        // What the store has lost is fetched again.
        let Ok(upload) = resumed.await else { return Ok(None) };
        let mut transfer = Self {
            downloader,
            claimed,
            url,
            stop,
            origin: Origin { validator: Some(validator.clone()), ..incoming.origin().clone() },
            incoming,
            content_type: partial.content_type.clone(),
            upload,
            mark: (partial.bytes, hashes.clone()),
            hashes,
            passed: partial.bytes,
            further: partial.bytes,
            // The row says of this upload what is true of it, at worst under the name that it had.
            kept_at: Some(Instant::now()),
            goings_on: 0,
        };
        // A folder's part has another name now, by which alone a successor finds it.
        match transfer.keep(partial.bytes).await {
            Ok(()) => Ok(Some(transfer)),
            Err(ended) => Err(transfer.break_off(ended).await),
        }
    }

    /// Brings the rest, to the object.
    async fn bring(&mut self) -> Result<Stored, Ended> {
        self.pour().await?;
        self.finish().await
    }

    async fn pour(&mut self) -> Result<(), Ended> {
        loop {
            match unless_stopped(self.stop, self.incoming.next()).await {
                Ok(Some(bytes)) => self.pass(bytes).await?,
                Ok(None) => return self.compare(),
                Err(Ended::Failed(failure @ Failure::Transient { .. })) if self.passed > self.further => {
                    self.further = self.passed;
                    unless_stopped(self.stop, self.ask_for_the_rest(failure)).await?;
                }
                Err(ended) => return Err(ended),
            }
        }
    }

    /// Goes on within the attempt. Where that cannot be, the attempt has failed as it would have without.
    async fn ask_for_the_rest(&mut self, failure: Failure) -> Result<(), Ended> {
        let Some(validator) = self.origin.validator.clone().filter(|_| self.goings_on < MOST_GOINGS_ON) else {
            return Err(failure.into());
        };
        self.goings_on += 1;
        tokio::time::sleep(GO_ON).await;
        let resume = Resume { offset: self.passed, validator, total: self.origin.total };
        match self.downloader.fetcher.go_on(self.url, &resume).await? {
            Answered::GoesOn(incoming) => {
                self.incoming = incoming;
                Ok(())
            }
            Answered::Afresh(_) | Answered::Unusable => {
                // Another version of the file, or a server that only sends it whole: what is there is of no use.
                Err(Ended::Spoiled(failure))
            }
        }
    }

    fn compare(&self) -> Result<(), Ended> {
        let same = self.origin.announced.compare(&self.hashes);
        same.map_err(|mismatch| Ended::Spoiled(Failure::transient("wrong_hash", mismatch.to_string())))
    }

    /// Hands bytes to the store, cut where its parts end.
    async fn pass(&mut self, mut bytes: Bytes) -> Result<(), Ended> {
        while !bytes.is_empty() {
            unless_stopped(self.stop, self.upload.ready()).await?;
            let room = self.upload.room_in_part();
            let piece = bytes.split_to(room.min(bytes.len()));
            let fills = piece.len() == room;
            self.hashes.update(&piece);
            self.passed += piece.len() as u64;
            self.upload.write(piece).await?;
            if fills {
                self.mark = (self.passed, self.hashes.clone());
                self.keep_now_and_then().await?;
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<Stored, Ended> {
        // The last look before the object appears: who lost the lease leaves the place to the successor.
        self.downloader.renew(self.claimed).await?;
        self.upload.finish().await?;
        Ok(Stored { content_type: self.content_type.clone(), size_bytes: self.passed, sha256: self.hashes.sha256() })
    }
}
