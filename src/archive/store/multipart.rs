//! A multipart upload: parts that are put one by one, and become an object together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, MultipartId, MultipartUpload, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long an upload that is aborted waits for a part on its way.
const ARRIVAL: Duration = Duration::from_secs(10);

/// What leads back to an upload: its id, and its parts that the store has.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) id: MultipartId,
    /// The length of each of them.
    pub(super) part_bytes: usize,
    parts: Vec<String>,
}

impl Kept {
    pub(super) fn read(upload: &str) -> Result<Self, Error> {
        serde_json::from_str(upload).map_err(|error| Error::Generic { store: "bucket", source: error.into() })
    }

    pub(super) fn write(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(|error| Error::Generic { store: "bucket", source: error.into() })
    }

    /// How many bytes the store has.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.len() as u64 * self.part_bytes as u64
    }
}

/// How an upload's parts are put.
pub(super) enum Way {
    /// By its id, with which anyone goes on.
    Known { parts: Arc<dyn MultipartStore>, path: Path, id: MultipartId },
    /// By this process alone, which forgets it at its end: in Azure only such an upload carries a content type.
    Own(Box<dyn MultipartUpload>),
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Known { .. }) { "Known" } else { "Own" })
    }
}

impl Way {
    fn put(&mut self, number: usize, part: PutPayload) -> BoxFuture<'static, Result<Option<PartId>, Error>> {
        match self {
            Self::Known { parts, path, id } => {
                let (parts, path, id) = (parts.clone(), path.clone(), id.clone());
                async move { parts.put_part(&path, &id, number, part).await.map(Some) }.boxed()
            }
            Self::Own(upload) => upload.put_part(part).map(|put| put.map(|()| None)).boxed(),
        }
    }

    async fn complete(&mut self, done: Vec<PartId>) -> Result<(), Error> {
        match self {
            Self::Known { parts, path, id } => parts.complete_multipart(path, id, done).await.map(drop),
            Self::Own(upload) => upload.complete().await.map(drop),
        }
    }

    async fn abort(&mut self) -> Result<(), Error> {
        match self {
            Self::Known { parts, path, id } => parts.abort_multipart(path, id).await,
            Self::Own(upload) => upload.abort().await,
        }
    }
}

/// An upload under way.
#[derive(Debug)]
pub(super) struct Multipart {
    way: Way,
    begun: usize,
    done: Vec<(usize, PartId)>,
    under_way: JoinSet<Result<Sent, Error>>,
}

#[derive(Debug)]
struct Sent {
    number: usize,
    id: Option<PartId>,
    /// What the part was in, unless somebody still holds on to it.
    buffer: Option<BytesMut>,
}

impl Multipart {
    pub(super) fn new(way: Way) -> Self {
        Self { way, begun: 0, done: Vec::new(), under_way: JoinSet::new() }
    }

    /// Goes on with what an earlier worker began.
    pub(super) fn go_on(parts: Arc<dyn MultipartStore>, path: Path, kept: Kept) -> Self {
        let done: Vec<_> = kept.parts.into_iter().map(|content_id| PartId { content_id }).enumerate().collect();
        let way = Way::Known { parts, path, id: kept.id };
        Self { way, begun: done.len(), done, under_way: JoinSet::new() }
    }

    /// What leads back to it, where something does.
    pub(super) fn keep(&mut self, part_bytes: usize) -> Option<Kept> {
        let Way::Known { id, .. } = &self.way else { return None };
        self.done.sort_unstable_by_key(|(number, _)| *number);
        let parts = self.done.iter().map(|(_, part)| part.content_id.clone()).collect();
        Some(Kept { id: id.clone(), part_bytes, parts })
    }

    /// Sends a part on its way.
    pub(super) fn send(&mut self, part: Bytes) {
        let number = self.begun;
        self.begun += 1;
        let put = self.way.put(number, PutPayload::from(part.clone()));
        self.under_way.spawn(async move {
            let id = put.await?;
            Ok(Sent { number, id, buffer: part.try_into_mut().ok() })
        });
    }

    /// Waits until at most `limit` parts are on their way. Returns the buffers of those that the store has now. Dropped
    /// while it waits, it loses none.
    pub(super) async fn wait(&mut self, limit: usize) -> Result<Option<BytesMut>, Error> {
        let mut spare = None;
        while self.under_way.len() > limit {
            let Some(sent) = self.under_way.join_next().await else { break };
            let Sent { number, id, buffer } = sent.map_err(|source| Error::JoinError { source })??;
            self.done.extend(id.map(|id| (number, id)));
            spare = buffer.or(spare);
        }
        Ok(spare)
    }

    /// Makes of all its parts an object.
    pub(super) async fn complete(&mut self) -> Result<(), Error> {
        self.wait(0).await?;
        self.done.sort_unstable_by_key(|(number, _)| *number);
        let done = self.done.iter().map(|(_, part)| part.clone()).collect();
        self.way.complete(done).await
    }

    /// Ends it without an object.
    pub(super) async fn abort(&mut self) -> Result<(), Error> {
        // A part that the store still takes after the abort would be left behind. Whether it came does not matter.
        let arrived = async { while self.under_way.join_next().await.is_some() {} };
        if timeout(ARRIVAL, arrived).await.is_err() {
            self.under_way.shutdown().await;
        }
        self.way.abort().await
    }
}

/// What the end of an upload came to.
pub(super) fn ended(aborted: Result<(), Error>) -> Result<(), Error> {
    match aborted {
        // It is gone; or it is not for us to end, now or later, and the bucket's lifecycle rule's to clear.
        Err(Error::NotFound { .. } | Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => Ok(()),
        aborted => aborted,
    }
}
