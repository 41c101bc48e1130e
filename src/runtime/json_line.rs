//! A line of the log as one flat JSON object: the fields of the event, then those of the spans around it.

use std::fmt;

use opentelemetry::trace::TraceContextExt;
use tracing::dispatcher::get_default;
use tracing::{Event, Subscriber};
use tracing_opentelemetry::get_otel_context;
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::span_fields::SpanFields;
use super::traces::are_traced;

/// Writes events as `tracing_subscriber` does, which puts the fields of spans into objects of their own or leaves them
/// out, and adds the fields of all spans, from the outermost to the innermost, beside those of the event. A name that is
/// already in the line is not repeated. Where spans are exported, the ids of the trace and of the innermost span follow.
pub(super) struct JsonLine(Format<Json>);

impl JsonLine {
    pub(super) fn new(format: Format<Json>) -> Self {
        Self(format.flatten_event(true).with_current_span(false).with_span_list(false))
    }
}

impl<S> FormatEvent<S, SpanFields> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, SpanFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        line.truncate(line.trim_end().strip_suffix('}').ok_or(fmt::Error)?.len());
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            let extensions = span.extensions();
            let Some(fields) = extensions.get::<FormattedFields<SpanFields>>() else { continue };
            fields.lines().for_each(|member| add(&mut line, member));
        }
        if are_traced() {
            add_trace(&mut line, context);
        }
        writeln!(writer, "{line}}}")
    }
}

/// Adds a member, `"name":value`, unless the line has one of this name. A quotation mark within a text is escaped, so a name
/// in quotation marks before a colon is a name.
fn add(line: &mut String, member: &str) {
    let Some((name, _)) = member.split_once("\":") else { return };
    if !line.contains(&format!("{name}\":")) {
        line.push(',');
        line.push_str(member);
    }
}

fn add_trace<S>(line: &mut String, context: &FmtContext<'_, S, SpanFields>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let Some(span) = context.lookup_current() else { return };
    let Some(context) = get_default(|dispatch| get_otel_context(&span.id(), dispatch)) else { return };
    let ids = context.span().span_context().clone();
    if ids.is_valid() {
        add(line, &format!("\"trace_id\":\"{}\"", ids.trace_id()));
        add(line, &format!("\"span_id\":\"{}\"", ids.span_id()));
    }
}
