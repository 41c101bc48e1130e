//! The beginning of a transfer: from an earlier attempt's checkpoint if possible, otherwise from the first byte.

use tokio::time::Instant;

use super::transfer::{AttemptContext, Interruption, Transfer, unless_stopped};
use crate::archive::checkpoint::{self, Checkpoint};
use crate::archive::fetch::{Hashes, Incoming, Origin, ResumePoint, Resumption};
use crate::archive::media_type;
use crate::archive::store::NewObject;
use crate::domain::SignedUrl;

impl<'a> Transfer<'a> {
    pub(super) async fn begin(attempt: AttemptContext<'a>, url: &'a SignedUrl) -> Result<Self, Interruption> {
        let AttemptContext { downloader, claimed, stop, .. } = attempt;
        if let Some(checkpoint) = find_checkpoint(attempt).await {
            if let Some(transfer) = Self::resume(attempt, url, &checkpoint).await? {
                return Ok(transfer);
            }
            unless_stopped(stop, downloader.end_upload(claimed, &checkpoint)).await?;
        }
        let incoming = unless_stopped(stop, downloader.fetcher.open(url)).await?;
        Self::start(attempt, url, incoming).await
    }

    /// Starts with the first byte.
    async fn start(
        attempt: AttemptContext<'a>,
        url: &'a SignedUrl,
        mut incoming: Incoming,
    ) -> Result<Self, Interruption> {
        let AttemptContext { downloader, claimed, stop, .. } = attempt;
        let origin = incoming.origin().clone();
        // The first bytes show the media type if the header does not.
        let first = unless_stopped(stop, incoming.next()).await?.unwrap_or_default();
        let content_type = media_type::of(origin.content_type.as_deref(), &first, &claimed.key);
        let upload = downloader.store.begin(NewObject {
            key: &claimed.key,
            content_type: &content_type,
            max_bytes: incoming.max_bytes(),
            token: claimed.lease.token(),
        });
        let hashes = Hashes::new(&origin.announced);
        let mut transfer = Self {
            attempt,
            url,
            incoming,
            origin,
            content_type,
            upload,
            mark: (0, hashes.clone()),
            hashes,
            passed: 0,
            requested_at: 0,
            saved_at: None,
            resumptions: 0,
        };
        match transfer.write(first).await {
            Ok(()) => Ok(transfer),
            Err(why) => Err(transfer.interrupt(why).await),
        }
    }

    /// Resumes the upload of an earlier attempt; `None` if that is impossible.
    async fn resume(
        attempt: AttemptContext<'a>,
        url: &'a SignedUrl,
        checkpoint: &Checkpoint,
    ) -> Result<Option<Self>, Interruption> {
        let AttemptContext { downloader, claimed, stop, .. } = attempt;
        let (Some(validator), Some(hashes)) = (&checkpoint.validator, Hashes::restore(&checkpoint.hashes)) else {
            return Ok(None);
        };
        if checkpoint.bytes == 0 || checkpoint.path != url.expose().path() {
            return Ok(None);
        }
        let from = ResumePoint { offset: checkpoint.bytes, validator: validator.clone(), total: checkpoint.total };
        let resumption = unless_stopped(stop, downloader.fetcher.resume(url, &from)).await?;
        let Resumption::Continued(incoming) = resumption else { return Ok(None) };
        let Checkpoint { content_type, upload, bytes, .. } = checkpoint;
        let upload = downloader.store.resume(&claimed.key, content_type, upload, *bytes, claimed.lease.token());
        // What the store has lost is fetched again.
        let Ok(upload) = upload.await else { return Ok(None) };
        let mut transfer = Self {
            attempt,
            url,
            origin: Origin { validator: Some(validator.clone()), ..incoming.origin().clone() },
            incoming,
            content_type: content_type.clone(),
            upload,
            mark: (*bytes, hashes.clone()),
            hashes,
            passed: *bytes,
            requested_at: *bytes,
            // The checkpoint describes this upload, at worst under its earlier name.
            saved_at: Some(Instant::now()),
            resumptions: 0,
        };
        // A folder's part has another name now, and a successor finds it only by that name.
        match transfer.save_checkpoint(*bytes).await {
            Ok(()) => Ok(Some(transfer)),
            Err(why) => Err(transfer.interrupt(why).await),
        }
    }
}

/// The checkpoint of an earlier attempt.
async fn find_checkpoint(attempt: AttemptContext<'_>) -> Option<Checkpoint> {
    let AttemptContext { downloader, claimed, .. } = attempt;
    if claimed.is_untouched {
        return None;
    }
    // OK to start over without a database: what the checkpoint names is ended by the store's own rules.
    checkpoint::find(&downloader.database, &claimed.lease).await.ok().flatten()
}
