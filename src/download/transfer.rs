//! The bytes' way: from the server into the store, counted and hashed as they pass.

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::Downloader;
use crate::fetch::{Failure, Incoming};
use crate::log::LogEvent;
use crate::media_type;
use crate::queue::{Claimed, Stored};
use crate::store::{StoreError, Upload};

/// How a transfer ended.
pub(super) enum Ended {
    /// The object is in the store, whole.
    Stored(Stored),
    /// It is not, and there is no trace of it.
    Failed(Failure),
    /// It was told to stop, and there is no trace of it.
    Stopped,
    /// Another worker has the download.
    LeaseLost,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        error!(event = %LogEvent::StoreFailed, error = message, "the store failed: check STORAGE_URL and its credentials");
        Self::Failed(Failure::transient("store_failed", message))
    }
}

/// Brings the file into the store, or leaves no trace of it.
pub(super) async fn run(downloader: &Downloader, claimed: &Claimed, stop: &CancellationToken) -> Ended {
    let began = stop.run_until_cancelled(begin(downloader, claimed)).await;
    let (mut passing, upload) = match began {
        None => return Ended::Stopped,
        Some(Err(ended)) => return ended,
        Some(Ok(began)) => began,
    };
    let mut upload = upload;
    match stop.run_until_cancelled(passing.pour(&mut upload)).await {
        Some(Ok(())) => {}
        stopped_or_failed => {
            upload.abort().await;
            return stopped_or_failed.and_then(Result::err).unwrap_or(Ended::Stopped);
        }
    }
    // The last look before the object appears: who lost the lease leaves the place to the successor.
    if downloader.renew(claimed).await.is_err() {
        upload.abort().await;
        return Ended::LeaseLost;
    }
    match upload.finish().await {
        Ok(()) => Ended::Stored(passing.proof()),
        Err(error) => error.into(),
    }
}

async fn begin(downloader: &Downloader, claimed: &Claimed) -> Result<(Passing, Upload), Ended> {
    let url = claimed.url.as_ref().map_err(|error| Failure::permanent("invalid_url", error.to_string()))?;
    let mut incoming = downloader.fetcher.open(url).await?;
    // The first bytes say what kind of file it is where the header does not.
    let start = incoming.next().await?.unwrap_or_default();
    let content_type = media_type::of(incoming.content_type(), &start, &claimed.key);
    let mut upload = downloader.store.begin(&claimed.key, &content_type, claimed.lease.token()).await?;
    let mut passing = Passing { incoming, content_type, hash: Sha256::new(), size_bytes: 0 };
    passing.hash(&start);
    if let Err(error) = upload.write(start).await {
        upload.abort().await;
        return Err(error.into());
    }
    Ok((passing, upload))
}

/// A file on its way, and what is known of the part that has passed.
struct Passing {
    incoming: Incoming,
    content_type: String,
    hash: Sha256,
    size_bytes: u64,
}

impl Passing {
    fn hash(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.size_bytes += bytes.len() as u64;
    }

    async fn pour(&mut self, upload: &mut Upload) -> Result<(), Ended> {
        while let Some(bytes) = self.incoming.next().await? {
            self.hash(&bytes);
            upload.write(bytes).await?;
        }
        Ok(())
    }

    fn proof(self) -> Stored {
        Stored {
            content_type: self.content_type,
            size_bytes: self.size_bytes,
            sha256: hex::encode(self.hash.finalize()),
        }
    }
}
