//! Sends spans to their receiver.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{Request, Response};
use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;
use tracing::warn;

use crate::runtime::log::LogEvent;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The HTTP client of the exporter, which runs on a thread of its own: requests run on our runtime.
#[derive(Debug)]
pub(super) struct OtlpClient {
    client: reqwest::Client,
    runtime: Handle,
    is_failing: AtomicBool,
}

impl OtlpClient {
    pub(super) fn new() -> reqwest::Result<Self> {
        let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        Ok(Self { client, runtime: Handle::current(), is_failing: AtomicBool::new(false) })
    }

    /// Logs when exporting begins to fail.
    fn report(&self, failure: Option<&str>) {
        let was_failing = self.is_failing.swap(failure.is_some(), Ordering::Relaxed);
        if let (Some(error), false) = (failure, was_failing) {
            warn!(
                event = %LogEvent::TracesFailed, error,
                "spans cannot be exported, and are lost: check OTEL_EXPORTER_OTLP_ENDPOINT"
            );
        }
    }
}

#[async_trait]
impl HttpClient for OtlpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = self.runtime.spawn(async move {
            let answer = client.execute(request.try_into()?).await?;
            let status = answer.status();
            let body = answer.bytes().await?;
            let mut response = Response::new(body);
            *response.status_mut() = status;
            Ok::<_, reqwest::Error>(response)
        });
        let result = sending.await?.map_err(reqwest::Error::without_url);
        match &result {
            Ok(response) if response.status().is_success() => self.report(None),
            Ok(response) => self.report(Some(response.status().as_str())),
            Err(error) => self.report(Some(&error.to_string())),
        }
        Ok(result?)
    }
}
