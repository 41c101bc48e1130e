//! The fields of spans, as members of a JSON object.

use std::fmt;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{FormatFields, Writer};

/// The prefix of fields that only traces have.
const ONLY_IN_TRACES: &str = "otel.";

/// Formats each field as a line, `"name":value`. JSON escapes line feeds, so no field spans two lines.
#[derive(Debug)]
pub(super) struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut members = MemberWriter { writer, result: Ok(()) };
        fields.record(&mut members);
        members.result
    }
}

struct MemberWriter<'writer> {
    writer: Writer<'writer>,
    result: fmt::Result,
}

impl MemberWriter<'_> {
    fn write(&mut self, field: &Field, value: impl Into<Value>) {
        if !field.name().starts_with(ONLY_IN_TRACES) && self.result.is_ok() {
            self.result = writeln!(self.writer, "{}:{}", Value::from(field.name()), value.into());
        }
    }
}

impl Visit for MemberWriter<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.write(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, format!("{value:?}"));
    }
}
