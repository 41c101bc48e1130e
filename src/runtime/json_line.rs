//! A line of the log as one flat JSON object: the fields of the event, then those of the spans around it.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

/// Writes events as `tracing_subscriber` does, which puts the fields of spans into objects of their own or leaves them
/// out, and adds the fields of all spans, from the outermost to the innermost, beside those of the event.
///
/// A field keeps one meaning only if no event or inner span repeats a name of a span around it.
pub(super) struct JsonLine(Format<Json>);

impl JsonLine {
    pub(super) fn new(format: Format<Json>) -> Self {
        Self(format.flatten_event(true).with_current_span(false).with_span_list(false))
    }
}

impl<S> FormatEvent<S, JsonFields> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(line.trim_end().strip_suffix('}').ok_or(fmt::Error)?)?;
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>().and_then(members) {
                write!(writer, ",{fields}")?;
            }
        }
        writeln!(writer, "}}")
    }
}

/// What stands between the braces of a span's fields; `None` where it has no field.
fn members(fields: &FormattedFields<JsonFields>) -> Option<&str> {
    fields.strip_prefix('{')?.strip_suffix('}').filter(|members| !members.is_empty())
}
