//! Multipart uploads.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, MultipartId, MultipartUpload, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::error::BucketError;

/// How long aborting an upload waits for parts that are being sent.
const LAST_PARTS: Duration = Duration::from_secs(10);

/// The state that another process needs to resume an upload: its id and the stored parts.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedUpload {
    pub(super) id: MultipartId,
    /// The length of each part.
    pub(super) part_bytes: usize,
    parts: Vec<String>,
}

impl SavedUpload {
    pub(super) fn parse(upload: &str) -> Result<Self, BucketError> {
        serde_json::from_str(upload).map_err(|_| BucketError::Other("not a saved upload of a bucket".to_owned()))
    }

    pub(super) fn to_text(&self) -> Result<String, BucketError> {
        serde_json::to_string(self).map_err(|error| BucketError::Other(error.to_string()))
    }

    /// The number of stored bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.len() as u64 * self.part_bytes as u64
    }
}

/// How the parts of an upload are sent.
pub(super) enum PartSender {
    /// By the id of the upload, so that any process can resume it.
    ById { store: Arc<dyn MultipartStore>, path: Path, id: MultipartId },
    /// By this process only. Azure only supports a content type for such uploads.
    InProcess(Box<dyn MultipartUpload>),
}

impl fmt::Debug for PartSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::ById { .. }) { "ById" } else { "InProcess" })
    }
}

impl PartSender {
    fn send(&mut self, number: usize, part: PutPayload) -> BoxFuture<'static, Result<Option<PartId>, Error>> {
        match self {
            Self::ById { store, path, id } => {
                let (store, path, id) = (store.clone(), path.clone(), id.clone());
                async move { store.put_part(&path, &id, number, part).await.map(Some) }.boxed()
            }
            Self::InProcess(upload) => upload.put_part(part).map(|sent| sent.map(|()| None)).boxed(),
        }
    }

    async fn complete(&mut self, parts: Vec<PartId>) -> Result<(), BucketError> {
        let completed = match self {
            Self::ById { store, path, id } => store.complete_multipart(path, id, parts).await,
            Self::InProcess(upload) => upload.complete().await,
        };
        Ok(completed.map(drop)?)
    }

    async fn abort(&mut self) -> Result<(), BucketError> {
        let aborted = match self {
            Self::ById { store, path, id } => store.abort_multipart(path, id).await,
            Self::InProcess(upload) => upload.abort().await,
        };
        Ok(aborted?)
    }
}

/// An upload in progress.
#[derive(Debug)]
pub(super) struct Multipart {
    sender: PartSender,
    /// The number of parts that were sent or are being sent.
    started: usize,
    /// The stored parts, with their numbers.
    done: Vec<(usize, PartId)>,
    in_flight: JoinSet<Result<SentPart, BucketError>>,
}

#[derive(Debug)]
struct SentPart {
    number: usize,
    id: Option<PartId>,
    /// The buffer of the part, unless it is still in use.
    buffer: Option<BytesMut>,
}

impl Multipart {
    pub(super) fn new(sender: PartSender) -> Self {
        Self { sender, started: 0, done: Vec::new(), in_flight: JoinSet::new() }
    }

    /// Resumes another worker's upload.
    pub(super) fn resume(store: Arc<dyn MultipartStore>, path: Path, saved: SavedUpload) -> Self {
        let done: Vec<_> = saved.parts.into_iter().map(|content_id| PartId { content_id }).enumerate().collect();
        let sender = PartSender::ById { store, path, id: saved.id };
        Self { sender, started: done.len(), done, in_flight: JoinSet::new() }
    }

    /// The state for resuming the upload, if that is possible.
    pub(super) fn save(&mut self, part_bytes: usize) -> Option<SavedUpload> {
        let PartSender::ById { id, .. } = &self.sender else { return None };
        self.done.sort_unstable_by_key(|(number, _)| *number);
        let parts = self.done.iter().map(|(_, part)| part.content_id.clone()).collect();
        Some(SavedUpload { id: id.clone(), part_bytes, parts })
    }

    /// Starts to send a part.
    pub(super) fn send(&mut self, part: Bytes) {
        let number = self.started;
        self.started += 1;
        let sent = self.sender.send(number, PutPayload::from(part.clone()));
        self.in_flight.spawn(async move {
            let id = sent.await?;
            Ok(SentPart { number, id, buffer: part.try_into_mut().ok() })
        });
    }

    /// Waits until at most `limit` parts are being sent. Returns the buffer of a stored part, if any. Cancel safe.
    pub(super) async fn wait(&mut self, limit: usize) -> Result<Option<BytesMut>, BucketError> {
        let mut spare = None;
        while self.in_flight.len() > limit {
            let Some(sent) = self.in_flight.join_next().await else { break };
            let SentPart { number, id, buffer } = sent.map_err(|source| Error::JoinError { source })??;
            self.done.extend(id.map(|id| (number, id)));
            spare = buffer.or(spare);
        }
        Ok(spare)
    }

    /// Turns the parts into an object.
    pub(super) async fn complete(&mut self) -> Result<(), BucketError> {
        self.wait(0).await?;
        self.done.sort_unstable_by_key(|(number, _)| *number);
        let done = self.done.iter().map(|(_, part)| part.clone()).collect();
        self.sender.complete(done).await
    }

    /// Aborts the upload.
    pub(super) async fn abort(&mut self) -> Result<(), BucketError> {
        // A part that arrives after the abort would be left behind. Whether sending it succeeds does not matter.
        let sent = async { while self.in_flight.join_next().await.is_some() {} };
        if timeout(LAST_PARTS, sent).await.is_err() {
            self.in_flight.shutdown().await;
        }
        self.sender.abort().await
    }
}

/// The result of an abort. An upload that does not exist, or must not be aborted, counts as aborted.
pub(super) fn ignore_ended(aborted: Result<(), BucketError>) -> Result<(), BucketError> {
    let status = aborted.as_ref().err().and_then(BucketError::status);
    match status {
        // Without the permission to abort, the bucket's lifecycle rule must remove it.
        Some(StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) => Ok(()),
        _ => aborted,
    }
}
