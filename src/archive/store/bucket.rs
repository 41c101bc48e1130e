//! A bucket as the store: `s3://`, `gs://`, `az://`.
//!
//! Files are cut into parts of one size, as some stores demand, of which an upload has at most 10,000, as others do.

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
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::{Method, Signer};
use object_store::{
    ClientOptions, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutMultipartOptions,
    PutOptions, PutPayload, RetryConfig,
};
use url::Url;
use uuid::Uuid;

use super::LINK_LIFETIME;
use super::multipart::{Kept, Way, ended};
use crate::domain::ObjectKey;

/// How long one request may take, a whole part included.
const REQUEST: Duration = Duration::from_mins(2);

/// A bucket, and the prefix of every object in it.
#[derive(Clone)]
pub struct Bucket {
    objects: Arc<dyn ObjectStore>,
    /// How an upload is gone on with; `None` where none that can be gone on with carries a content type.
    pub(super) parts: Option<Arc<dyn MultipartStore>>,
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
                Ok(Self { parts: None, ..Self::of(Arc::new(builder.build()?), prefix, address) })
            }
        }
    }

    fn of<T: ObjectStore + MultipartStore + Signer>(store: Arc<T>, prefix: Path, address: Url) -> Self {
        Self { objects: store.clone(), parts: Some(store.clone()), signer: store, prefix, address }
    }

    pub(super) fn path(&self, key: &ObjectKey) -> Path {
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

    pub(super) async fn discard(&self, key: &ObjectKey, upload: &str) -> Result<(), Error> {
        // OK that what is no upload of a bucket is left alone: it is another store's.
        let (Ok(kept), Some(parts)) = (Kept::read(upload), &self.parts) else { return Ok(()) };
        ended(parts.abort_multipart(&self.path(key), &kept.id).await)
    }

    pub(super) async fn begin_multipart(&self, path: &Path, options: PutMultipartOptions) -> Result<Way, Error> {
        Ok(match &self.parts {
            Some(parts) => {
                let id = parts.create_multipart_opts(path, options).await?;
                Way::Known { parts: parts.clone(), path: path.clone(), id }
            }
            None => Way::Own(self.objects.put_multipart_opts(path, options).await?),
        })
    }

    pub(super) async fn put(&self, path: &Path, whole: PutPayload, options: PutOptions) -> Result<(), Error> {
        self.objects.put_opts(path, whole, options).await.map(drop)
    }
}

fn client() -> ClientOptions {
    ClientOptions::new().with_timeout(REQUEST).with_connect_timeout(Duration::from_secs(5))
}

/// A few tries within an attempt; what is down for longer is for the next attempt.
fn retries() -> RetryConfig {
    RetryConfig { max_retries: 3, retry_timeout: Duration::from_mins(1), ..RetryConfig::default() }
}
