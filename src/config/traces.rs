//! The settings for traces.

use clap::Args;
use url::Url;

use super::errors::ConfigErrors;
use super::parse::{non_empty, parse};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The flags for traces.
#[derive(Debug, Clone, Args)]
pub(super) struct TraceArgs {
    /// Where traces are exported by OTLP over HTTP, such as `http://localhost:4318`
    #[arg(long, env = ENDPOINT, value_name = "URL", hide_env_values = true)]
    otel_exporter_otlp_endpoint: Option<String>,
}

impl TraceArgs {
    /// The receiver of spans, if there is one.
    pub(super) fn read(&self, errors: &mut ConfigErrors) -> Option<Url> {
        let url = non_empty(self.otel_exporter_otlp_endpoint.as_deref())?;
        let url: Url = parse(ENDPOINT, url, "a URL such as http://localhost:4318", errors)?;
        if !matches!(url.scheme(), "http" | "https") {
            errors.add(ENDPOINT, "must begin with http:// or https://: spans are sent as protobuf over HTTP");
            return None;
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            errors.add(ENDPOINT, "must not have a user, a password, or a query: use OTEL_EXPORTER_OTLP_HEADERS");
            return None;
        }
        Some(url)
    }
}
