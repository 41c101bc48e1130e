//! Traces, exported to a receiver of the test's own.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use renderhook::intake::{SIGNATURE_HEADER, TIMESTAMP_HEADER};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::app::{SECRET, TOKEN, signed, video};
use crate::support::process::{Service, database_url, serve};
use crate::support::receiver::Receiver;
use crate::support::{standin, until};

/// A trace and a span of the caller's.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// The spans that arrived, and the names of their services.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    services: Arc<Mutex<Vec<String>>>,
    bodies: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    /// Starts it, and returns its address.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let receiver = collector.clone();
        let receive = move |body: Bytes| async move { receiver.take(&body) };
        let router = Router::new().route("/v1/traces", post(receive));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, address)
    }

    fn take(&self, body: &[u8]) {
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        self.bodies.lock().unwrap().extend_from_slice(body);
        for resource in request.resource_spans {
            let attributes = resource.resource.unwrap().attributes;
            let name = attributes.into_iter().find(|it| it.key == "service.name").unwrap().value.unwrap().value;
            let Some(Attribute::StringValue(name)) = name else { panic!("{name:?}") };
            self.services.lock().unwrap().push(name);
            self.spans.lock().unwrap().extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }

    /// The spans with this name.
    fn spans(&self, name: &str) -> Vec<Span> {
        self.spans.lock().unwrap().iter().filter(|span| span.name == name).cloned().collect()
    }
}

/// An attribute of a span, as text.
fn attribute(span: &Span, key: &str) -> Option<String> {
    match span.attributes.iter().find(|it| it.key == key)?.value.clone()?.value? {
        Attribute::StringValue(text) => Some(text),
        Attribute::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}

#[sqlx::test]
async fn each_step_of_a_render_is_a_span_with_its_ids_and_belongs_to_the_callers_trace(pool: PgPool) {
    let ((collector, endpoint), folder) = (Collector::start().await, TempDir::new().unwrap());
    let (receiver, magic_hour) = (Receiver::start().await, standin().await);
    let mut command = serve(&database_url(&pool), &folder);
    command.args(receiver.flags()).args(magic_hour.serve_flags());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let service = Service::start(command).await;
    let mut project = video("clx", "complete");
    project.downloads = vec![magic_hour.files.put("clx/output.mp4", vec![7; 1000], "video/mp4").unwrap()];
    let delivery = signed(&project.event("video.completed"));
    let request = service.client.post(service.at("webhook")).header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
    let request = request.header(TIMESTAMP_HEADER, &delivery.timestamp).header(SIGNATURE_HEADER, &delivery.signature);
    assert_eq!(request.body(delivery.body).send().await.unwrap().status(), 200);
    let announced = service.client.put(service.at("renders/unknown")).bearer_auth(TOKEN).body(r#"{"kind":"video"}"#);
    announced.header("content-type", "application/json").send().await.unwrap();
    let names = ["POST /webhook", "record", "download", "poll", "notification"];
    until("a span of each kind", || async { names.iter().all(|name| !collector.spans(name).is_empty()).then_some(()) })
        .await;

    let request = &collector.spans("POST /webhook")[0];
    assert_eq!((hex::encode(&request.trace_id), hex::encode(&request.parent_span_id)), (TRACE.into(), PARENT.into()));
    assert_eq!(attribute(request, "http.response.status_code").as_deref(), Some("200"));
    assert!(attribute(request, "request.id").is_some());
    let batch = &collector.spans("record")[0];
    assert_eq!(batch.links.iter().map(|link| &link.span_id).collect::<Vec<_>>(), [&request.span_id]);
    assert_eq!(attribute(batch, "batch.events").as_deref(), Some("1"));
    for (name, id) in [("download", "clx"), ("notification", "clx"), ("poll", "unknown")] {
        assert_eq!(attribute(&collector.spans(name)[0], "render.id").as_deref(), Some(id), "{name}");
    }
    let line = &service.log.events("webhook.recorded")[0];
    assert_eq!((&line["trace_id"], &line["span_id"]), (&TRACE.into(), &hex::encode(&request.span_id).into()));
    let stored = service.log.all().into_iter().find(|line| line.contains("download.stored")).unwrap();
    assert_eq!(stored.matches("\"render.id\":").count(), 1, "{stored}");
    service.stop().await;
    assert!(collector.services.lock().unwrap().iter().all(|name| name == "renderhook"));
    let bodies = String::from_utf8_lossy(&collector.bodies.lock().unwrap()).into_owned();
    for secret in [SECRET, TOKEN, "X-Goog-Signature"] {
        assert!(!bodies.contains(secret), "{secret}");
    }
}

#[sqlx::test]
async fn a_receiver_of_spans_that_is_down_costs_one_line_and_nothing_else(pool: PgPool) {
    let folder = TempDir::new().unwrap();
    let mut command = serve(&database_url(&pool), &folder);
    // Nothing listens on port 1.
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1").env("OTEL_BSP_SCHEDULE_DELAY", "20");
    let service = Service::start(command).await;
    let post = async |id: &str| {
        let delivery = signed(&video(id, "rendering").event("video.started"));
        delivery.post(&service.client, &service.at("webhook")).await.unwrap().status
    };
    assert_eq!(post("first").await, 200);
    until("the line", || async { (!service.log.events("traces.failed").is_empty()).then_some(()) }).await;
    for id in 0..20 {
        assert_eq!(post(&id.to_string()).await, 200);
    }
    assert_eq!(service.log.events("traces.failed").len(), 1);
    service.stop().await;
}
