//! A bucket as a store: `s3://`, `gs://`, `az://`.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::{Method, Signer};
use object_store::{
    ClientOptions, Error, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutMultipartOptions, PutOptions, PutPayload,
    RetryConfig,
};
use url::Url;
use uuid::Uuid;

use super::LINK_LIFETIME;
use super::client::{self, BucketConnector};
use super::error::BucketError;
use super::multipart::{PartSender, SavedUpload, ignore_ended};
use crate::domain::ObjectKey;
use crate::http::without_credentials;

/// The time limit for an answer, including sending a part, and for each read of a body.
const SILENCE: Duration = Duration::from_mins(2);

/// A bucket, and the prefix of every object in it.
#[derive(Clone)]
pub struct Bucket {
    pub(super) objects: Arc<dyn ObjectStore>,
    /// Resumes uploads by id. `None` if such uploads cannot have a content type.
    pub(super) multipart: Option<Arc<dyn MultipartStore>>,
    signer: Arc<dyn Signer>,
    prefix: Path,
    /// `STORAGE_URL` without secrets.
    address: Url,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.address)
    }
}

impl Bucket {
    /// The bucket at `url`. A user, password, or query in it is ignored, because credentials come from `variables`.
    pub(super) fn at(url: &Url, variables: &HashMap<String, String>) -> Result<Self, Error> {
        let address = without_credentials(url);
        let (scheme, prefix) = ObjectStoreScheme::parse(&address)?;
        let metadata_endpoint = variables.get("AWS_METADATA_ENDPOINT").and_then(|url| Uri::from_str(url).ok());
        let connector = BucketConnector {
            no_credentials: BucketError::no_credentials(&scheme),
            metadata_endpoint: metadata_endpoint.as_ref().map(client::host),
        };
        match scheme {
            ObjectStoreScheme::AmazonS3 => {
                // An http:// endpoint is intentional, such as a store in the same network.
                let plain_http = variables.get("AWS_ENDPOINT_URL").is_some_and(|url| url.starts_with("http://"));
                let builder = AmazonS3Builder::new().with_url(address.as_str()).with_retry(retries());
                let builder = builder.with_client_options(client_options()).with_http_connector(connector);
                let builder = settings::<AmazonS3ConfigKey>(variables)
                    .fold(builder, |builder, (key, value)| builder.with_config(key, value));
                let builder = if plain_http { builder.with_allow_http(true) } else { builder };
                Ok(Self::of(Arc::new(builder.build()?), prefix, address))
            }
            ObjectStoreScheme::GoogleCloudStorage => {
                let builder = GoogleCloudStorageBuilder::new().with_url(address.as_str()).with_retry(retries());
                let builder = builder.with_client_options(client_options()).with_http_connector(connector);
                let builder = settings::<GoogleConfigKey>(variables)
                    .fold(builder, |builder, (key, value)| builder.with_config(key, value));
                Ok(Self::of(Arc::new(builder.build()?), prefix, address))
            }
            _ => {
                let builder = MicrosoftAzureBuilder::new().with_url(address.as_str()).with_retry(retries());
                let builder = builder.with_client_options(client_options()).with_http_connector(connector);
                let builder = settings::<AzureConfigKey>(variables)
                    .fold(builder, |builder, (key, value)| builder.with_config(key, value));
                Ok(Self { multipart: None, ..Self::of(Arc::new(builder.build()?), prefix, address) })
            }
        }
    }

    fn of<T: ObjectStore + MultipartStore + Signer>(store: Arc<T>, prefix: Path, address: Url) -> Self {
        Self { objects: store.clone(), multipart: Some(store.clone()), signer: store, prefix, address }
    }

    pub(super) fn path(&self, key: &ObjectKey) -> Path {
        // Keys contain no characters that `Path` would escape.
        key.as_str().split('/').fold(self.prefix.clone(), Path::join)
    }

    pub(super) fn url(&self, key: &ObjectKey) -> String {
        format!("{}/{key}", self.address.as_str().trim_end_matches('/'))
    }

    pub(super) async fn probe(&self) -> Result<(), BucketError> {
        let path = self.prefix.clone().join(format!("renderhook-probe-{}", Uuid::new_v4()));
        self.objects.put(&path, PutPayload::from_static(b"renderhook")).await?;
        Ok(self.objects.delete(&path).await?)
    }

    /// A presigned URL of the object, or `None` if the credentials do not support it.
    pub async fn link(&self, key: &ObjectKey, method: Method) -> Option<Url> {
        self.signer.signed_url(method, &self.path(key), LINK_LIFETIME).await.ok()
    }

    pub(super) async fn size(&self, key: &ObjectKey) -> Result<u64, BucketError> {
        Ok(self.objects.head(&self.path(key)).await?.size)
    }

    pub(super) async fn delete(&self, key: &ObjectKey) -> Result<(), BucketError> {
        match self.objects.delete(&self.path(key)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn discard(&self, key: &ObjectKey, upload: &str) -> Result<(), BucketError> {
        // Other uploads belong to another store.
        let (Ok(saved), Some(multipart)) = (SavedUpload::parse(upload), &self.multipart) else { return Ok(()) };
        ignore_ended(multipart.abort_multipart(&self.path(key), &saved.id).await.map_err(Into::into))
    }

    pub(super) async fn begin_multipart(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<PartSender, BucketError> {
        Ok(match &self.multipart {
            Some(store) => {
                let id = store.create_multipart_opts(path, options).await?;
                PartSender::ById { store: store.clone(), path: path.clone(), id }
            }
            None => PartSender::InProcess(self.objects.put_multipart_opts(path, options).await?),
        })
    }

    pub(super) async fn put(&self, path: &Path, whole: PutPayload, options: PutOptions) -> Result<(), BucketError> {
        Ok(self.objects.put_opts(path, whole, options).await.map(drop)?)
    }
}

/// The variables with settings of this cloud.
fn settings<K: FromStr>(variables: &HashMap<String, String>) -> impl Iterator<Item = (K, &String)> {
    variables.iter().filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)))
}

/// There is no time limit for a whole request, because objects may be large, only for the server's silence.
fn client_options() -> ClientOptions {
    let options = ClientOptions::new().with_timeout_disabled().with_read_timeout(SILENCE);
    options.with_connect_timeout(Duration::from_secs(5))
}

/// A few retries within an attempt. Longer outages are left to the next attempt.
fn retries() -> RetryConfig {
    RetryConfig { max_retries: 3, retry_timeout: Duration::from_mins(1), ..RetryConfig::default() }
}

#[cfg(test)]
mod tests {
    use object_store::ClientConfigKey;

    use super::*;

    #[test]
    fn no_time_limit_covers_a_whole_request() {
        let options = client_options();
        assert_eq!(options.get_config_value(&ClientConfigKey::Timeout), None);
        assert!(options.get_config_value(&ClientConfigKey::ReadTimeout).is_some());
    }

    #[test]
    fn credentials_in_the_url_are_never_shown() {
        let key = ObjectKey::new(crate::domain::Kind::Video, &"id".parse().unwrap(), 0, None);
        for url in
            ["s3://key:hush@bucket/prefix?hush=hush", "gs://hush@bucket/prefix", "az://hush:hush@bucket/prefix#hush"]
        {
            let variables = [("AZURE_STORAGE_ACCOUNT_NAME", "a"), ("AZURE_STORAGE_ACCOUNT_KEY", "aHVzaA==")];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let bucket = Bucket::at(&url.parse().unwrap(), &variables).unwrap();
            assert!(bucket.url(&key).ends_with("://bucket/prefix/video/id/0-"), "{}", bucket.url(&key));
            assert!(!format!("{bucket:?}").contains("hush"));
        }
    }

    #[test]
    fn a_service_account_that_is_not_json_is_not_quoted() {
        let variables = [("GOOGLE_SERVICE_ACCOUNT_KEY".to_owned(), "\"hush\"".to_owned())].into();
        let error = Bucket::at(&"gs://bucket".parse().unwrap(), &variables).unwrap_err();
        let text = super::super::InvalidStorageUrl::from(error).to_string();
        assert!(text.contains("not valid JSON") && !text.contains("hush"), "{text}");
    }

    #[tokio::test]
    async fn a_bucket_without_credentials_names_the_settings() {
        // Nothing listens at the address of the metadata service.
        let variables = [("AWS_METADATA_ENDPOINT".to_owned(), "http://127.0.0.1:1".to_owned())].into();
        let bucket = Bucket::at(&"s3://bucket".parse().unwrap(), &variables).unwrap();
        let text = bucket.probe().await.unwrap_err().to_string();
        assert_eq!(text, "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
}
