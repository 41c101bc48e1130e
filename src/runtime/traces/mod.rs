//! Traces: spans that are exported by OTLP where `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
//!
//! Spans are those of `tracing`, which also carry ids into log lines. This adds what only traces have: the parent in a
//! request's `traceparent`, names and attributes. Without an endpoint, all of it does nothing.

mod export;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::registry::Registry;
use url::Url;

use self::export::OtlpClient;

/// Whether spans are exported.
static IS_ON: AtomicBool = AtomicBool::new(false);
/// How long spans may take to be exported when the process ends.
const LAST_EXPORT: Duration = Duration::from_secs(2);
/// The name of the service, unless `OTEL_SERVICE_NAME` says otherwise.
const SERVICE_NAME: &str = "renderhook";

/// Exports spans.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Exports to the OTLP receiver at `endpoint`, from a thread of its own. The other variables of the OpenTelemetry
    /// specification apply: `OTEL_SERVICE_NAME`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER` and so on.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn start(endpoint: &Url) -> Result<Self, ExporterBuildError> {
        let traces = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
        let client = OtlpClient::new().map_err(|error| ExporterBuildError::InternalFailure(error.to_string()))?;
        let exporter = SpanExporter::builder().with_http().with_http_client(client).with_endpoint(traces).build()?;
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(SERVICE_NAME);
        }
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
        IS_ON.store(true, Ordering::Relaxed);
        Ok(Self { provider })
    }

    /// Hands spans to the exporter.
    pub(super) fn layer(&self) -> OpenTelemetryLayer<Registry, SdkTracer> {
        tracing_opentelemetry::layer()
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_tracer(self.provider.tracer(SERVICE_NAME))
    }

    /// Exports what is left, within 2 s.
    pub async fn finish(self) {
        let finish = move || self.provider.shutdown_with_timeout(LAST_EXPORT);
        // OK to ignore errors: nobody is left who could do anything about lost spans.
        let _ = tokio::task::spawn_blocking(finish).await;
    }
}

/// Whether spans are exported.
#[must_use]
pub(crate) fn are_traced() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// Makes a span part of the caller's trace, if the headers name one. Call it before the span is entered.
pub(crate) fn continue_trace(span: &Span, headers: &HeaderMap) {
    if are_traced() {
        let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        // OK to ignore: a span that cannot have a parent begins a trace.
        let _ = span.set_parent(parent);
    }
}

/// Sets an attribute that only traces have.
pub(crate) fn set_attribute(span: &Span, key: &'static str, value: impl Into<opentelemetry::Value>) {
    if are_traced() {
        span.set_attribute(key, value);
    }
}
