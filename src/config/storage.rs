//! `STORAGE_URL`.

use clap::Args;
use url::Url;

use super::cloud;
use super::errors::ConfigErrors;
use super::parse::{non_empty, parse};
use crate::archive::Store;

const STORAGE_URL: &str = "STORAGE_URL";

/// The flag for the store.
#[derive(Debug, Clone, Args)]
pub struct StorageArgs {
    /// Where files are stored: `s3://bucket/prefix`, `gs://…`, `az://…` or `file:///dir`, with the provider's usual variables (required)
    #[arg(long, env = STORAGE_URL, value_name = "URL", hide_env_values = true)]
    storage_url: Option<String>,
}

impl StorageArgs {
    /// The store. `environment` has the cloud providers' variables.
    pub(crate) fn read(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
        errors: &mut ConfigErrors,
    ) -> Option<Store> {
        let Some(url) = non_empty(self.storage_url.as_deref()) else {
            errors.add(STORAGE_URL, "is required: s3://bucket/prefix, gs://…, az://… or file:///dir");
            return None;
        };
        let variables = cloud::variables(environment, errors);
        let url: Url = parse(STORAGE_URL, url, "a URL such as s3://bucket/prefix or file:///dir", errors)?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            errors.add(
                STORAGE_URL,
                "must not have a user, password, or query: set credentials with variables such as AWS_ACCESS_KEY_ID",
            );
            return None;
        }
        Store::at(&url, &variables).map_err(|error| errors.add(STORAGE_URL, error.to_string())).ok()
    }
}
