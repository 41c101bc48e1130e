//! A bucket as the store: `s3://`, `gs://`, `az://`.
//!
//! A file that fits one part is put in one request. A longer one is a multipart upload, a few parts at a time; it
//! appears when the upload is completed. All parts but the last have one size, as some stores demand.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::{Method, Signer};
use object_store::{
    Attribute, Attributes, ClientOptions, Error, GetOptions, GetRange, MultipartId, ObjectStore, ObjectStoreExt,
    ObjectStoreScheme, PutMultipartOptions, PutOptions, PutPayload, RetryConfig,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use url::Url;
use uuid::Uuid;

use super::{LINK_LIFETIME, PART_BYTES};
use crate::key::ObjectKey;

/// Parts of one file that are on their way at once, beside the one that is being filled.
const PARTS_IN_FLIGHT: usize = 1;

/// How long one request may take, a whole part included.
const REQUEST: Duration = Duration::from_mins(2);

/// A bucket, and the prefix of every object in it.
#[derive(Clone)]
pub struct Bucket {
    objects: Arc<dyn ObjectStore>,
    parts: Arc<dyn MultipartStore>,
    signer: Arc<dyn Signer>,
    prefix: Path,
    address: Url,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.address)
    }
}

impl Bucket {
    pub(super) fn at(url: &Url, variables: &HashMap<String, String>) -> Result<Self, Error> {
        let (scheme, prefix) = ObjectStoreScheme::parse(url)?;
        let mut address = url.clone();
        address.set_query(None);
        let settings = variables.iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
        match scheme {
            ObjectStoreScheme::AmazonS3 => {
                let plain_http = variables.get("AWS_ENDPOINT_URL").is_some_and(|url| url.starts_with("http://"));
                let builder = AmazonS3Builder::new().with_url(url.as_str()).with_retry(retries());
                let builder = settings
                    .filter_map(|(name, value)| Some((name.parse::<AmazonS3ConfigKey>().ok()?, value)))
                    .fold(builder.with_client_options(client()), |builder, (key, value)| {
                        builder.with_config(key, value)
                    });
                // Who writes http:// in the endpoint means it: a store in the same network.
                let builder = if plain_http { builder.with_allow_http(true) } else { builder };
                Ok(Self::of(Arc::new(builder.build()?), prefix, address))
            }
            ObjectStoreScheme::GoogleCloudStorage => {
                let builder = GoogleCloudStorageBuilder::new().with_url(url.as_str()).with_retry(retries());
                let builder = settings
                    .filter_map(|(name, value)| Some((name.parse::<GoogleConfigKey>().ok()?, value)))
                    .fold(builder.with_client_options(client()), |builder, (key, value)| {
                        builder.with_config(key, value)
                    });
                Ok(Self::of(Arc::new(builder.build()?), prefix, address))
            }
            _ => {
                let builder = MicrosoftAzureBuilder::new().with_url(url.as_str()).with_retry(retries());
                let builder = settings
                    .filter_map(|(name, value)| Some((name.parse::<AzureConfigKey>().ok()?, value)))
                    .fold(builder.with_client_options(client()), |builder, (key, value)| {
                        builder.with_config(key, value)
                    });
                Ok(Self::of(Arc::new(builder.build()?), prefix, address))
            }
        }
    }

    fn of<T: ObjectStore + MultipartStore + Signer>(store: Arc<T>, prefix: Path, address: Url) -> Self {
        Self { objects: store.clone(), parts: store.clone(), signer: store, prefix, address }
    }

    fn path(&self, key: &ObjectKey) -> Path {
        // OK because a key's parts hold none of the characters that `Path` would escape.
        key.as_str().split('/').fold(self.prefix.clone(), Path::join)
    }

    pub(super) fn url(&self, key: &ObjectKey) -> String {
        format!("{}/{key}", self.address.as_str().trim_end_matches('/'))
    }

    pub(super) async fn probe(&self) -> Result<(), Error> {
        let path = self.prefix.clone().join(format!("renderhook-probe-{}", Uuid::new_v4()));
        self.objects.put(&path, PutPayload::from_static(b"renderhook")).await?;
        self.objects.delete(&path).await
    }

    /// A URL that anyone may use for a while, or `None` where the credentials cannot make one.
    pub async fn link(&self, key: &ObjectKey, method: Method) -> Option<Url> {
        self.signer.signed_url(method, &self.path(key), LINK_LIFETIME).await.ok()
    }

    pub(super) async fn read(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + 'static, Error> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        Ok(self.objects.get_opts(&self.path(key), options).await?.into_stream())
    }

    /// Goes on with an upload that an earlier worker began. Its parts are where that worker's were, since both cut the
    /// same file on the same grid.
    pub(super) fn go_on(
        &self,
        key: &ObjectKey,
        content_type: &str,
        upload: &str,
        bytes: u64,
    ) -> Result<BucketUpload, Error> {
        let kept = Kept::read(upload)?;
        if kept.parts.len() as u64 * PART_BYTES as u64 != bytes {
            return Err(Error::Generic { store: "bucket", source: "the kept parts are not the kept length".into() });
        }
        let done: Vec<_> = kept.parts.into_iter().map(|content_id| PartId { content_id }).enumerate().collect();
        let begun = done.len();
        let upload = Multipart { id: kept.id, begun, done, under_way: JoinSet::new() };
        Ok(BucketUpload { upload: Some(upload), ..self.begin(key, content_type) })
    }

    pub(super) async fn discard(&self, key: &ObjectKey, upload: &str) -> Result<(), Error> {
        // OK that what is no upload of a bucket is left alone: it is another store's.
        let Ok(kept) = Kept::read(upload) else { return Ok(()) };
        self.end(&self.path(key), &kept.id).await
    }

    async fn end(&self, path: &Path, upload: &MultipartId) -> Result<(), Error> {
        match self.parts.abort_multipart(path, upload).await {
            // It is gone; or it is not for us to end, now or later, and the bucket's lifecycle rule's to clear.
            Err(Error::NotFound { .. } | Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => Ok(()),
            ended => ended,
        }
    }

    pub(super) fn begin(&self, key: &ObjectKey, content_type: &str) -> BucketUpload {
        let attributes = Attributes::from_iter([(Attribute::ContentType, content_type.to_owned())]);
        BucketUpload {
            bucket: self.clone(),
            path: self.path(key),
            attributes,
            filling: Vec::new(),
            filled: 0,
            upload: None,
        }
    }
}

fn client() -> ClientOptions {
    ClientOptions::new().with_timeout(REQUEST).with_connect_timeout(Duration::from_secs(5))
}

/// A few tries within an attempt; what is down for longer is for the next attempt.
fn retries() -> RetryConfig {
    RetryConfig { max_retries: 3, retry_timeout: Duration::from_mins(1), ..RetryConfig::default() }
}

/// What leads back to an upload: its id, and its parts that the store has.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    id: MultipartId,
    parts: Vec<String>,
}

impl Kept {
    fn read(upload: &str) -> Result<Self, Error> {
        serde_json::from_str(upload).map_err(|error| Error::Generic { store: "bucket", source: error.into() })
    }
}

/// A file that is being written.
#[derive(Debug)]
pub struct BucketUpload {
    bucket: Bucket,
    path: Path,
    attributes: Attributes,
    /// The chunks of the part that is being filled, as they came.
    filling: Vec<Bytes>,
    filled: usize,
    upload: Option<Multipart>,
}

#[derive(Debug)]
struct Multipart {
    id: MultipartId,
    begun: usize,
    done: Vec<(usize, PartId)>,
    under_way: JoinSet<Result<(usize, PartId), Error>>,
}

impl BucketUpload {
    pub(super) async fn write(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        while self.filled + bytes.len() > PART_BYTES {
            let rest = bytes.split_off(PART_BYTES - self.filled);
            self.fill(bytes);
            self.send_part().await?;
            bytes = rest;
        }
        self.fill(bytes);
        Ok(())
    }

    fn fill(&mut self, bytes: Bytes) {
        self.filled += bytes.len();
        self.filling.push(bytes);
    }

    fn take_part(&mut self) -> PutPayload {
        self.filled = 0;
        std::mem::take(&mut self.filling).into_iter().collect()
    }

    pub(super) fn room(&self) -> usize {
        PART_BYTES - self.filled % PART_BYTES
    }

    pub(super) async fn keep(&mut self) -> Result<String, Error> {
        let upload = self.multipart().await?;
        upload.done.sort_unstable_by_key(|(number, _)| *number);
        let parts = upload.done.iter().map(|(_, part)| part.content_id.clone()).collect();
        let kept = serde_json::to_string(&Kept { id: upload.id.clone(), parts });
        kept.map_err(|error| Error::Generic { store: "bucket", source: error.into() })
    }

    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        if self.filled == PART_BYTES {
            self.send_part().await?;
        }
        if let Some(upload) = &mut self.upload {
            while !upload.under_way.is_empty() {
                upload.collect_one().await?;
            }
        }
        Ok(())
    }

    async fn multipart(&mut self) -> Result<&mut Multipart, Error> {
        let upload = if let Some(upload) = self.upload.take() {
            upload
        } else {
            let options = PutMultipartOptions::from(self.attributes.clone());
            let id = self.bucket.parts.create_multipart_opts(&self.path, options).await?;
            Multipart { id, begun: 0, done: Vec::new(), under_way: JoinSet::new() }
        };
        Ok(self.upload.insert(upload))
    }

    async fn send_part(&mut self) -> Result<(), Error> {
        let part = self.take_part();
        let (parts, path) = (self.bucket.parts.clone(), self.path.clone());
        let upload = self.multipart().await?;
        while upload.under_way.len() >= PARTS_IN_FLIGHT {
            upload.collect_one().await?;
        }
        let (id, number) = (upload.id.clone(), upload.begun);
        upload.begun += 1;
        upload.under_way.spawn(async move { Ok((number, parts.put_part(&path, &id, number, part).await?)) });
        Ok(())
    }

    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        if self.upload.is_none() {
            let whole = self.take_part();
            let options = PutOptions::from(self.attributes.clone());
            self.bucket.objects.put_opts(&self.path, whole, options).await?;
            return Ok(());
        }
        if self.filled > 0 {
            self.send_part().await?;
        }
        if let Some(upload) = &mut self.upload {
            while !upload.under_way.is_empty() {
                upload.collect_one().await?;
            }
            upload.done.sort_unstable_by_key(|(number, _)| *number);
            let parts = upload.done.drain(..).map(|(_, part)| part).collect();
            self.bucket.parts.complete_multipart(&self.path, &upload.id, parts).await?;
        }
        Ok(())
    }

    pub(super) async fn abort(self) -> Result<(), Error> {
        let Some(mut upload) = self.upload else { return Ok(()) };
        // A part that arrives after the abort would be left behind.
        upload.under_way.shutdown().await;
        self.bucket.end(&self.path, &upload.id).await
    }
}

impl Multipart {
    async fn collect_one(&mut self) -> Result<(), Error> {
        if let Some(part) = self.under_way.join_next().await {
            self.done.push(part.map_err(|source| Error::JoinError { source })??);
        }
        Ok(())
    }
}
