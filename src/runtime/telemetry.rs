//! Sets up the log: where its lines go, and which of them are written.

use std::io::IsTerminal;
use std::panic;

use tracing::{Level, Metadata, Subscriber, error};
use tracing_subscriber::filter::{EnvFilter, FilterFn, LevelFilter};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::json_line::JsonLine;
use super::log::LogEvent;
use super::log_queue::LogQueue;
use super::span_fields::SpanFields;
use super::traces::Traces;

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line, for programs.
    Json,
    /// Text for people; colored on a terminal.
    Pretty,
}

/// Starts the log on stdout. Lines are queued and written by a thread of their own, so that a reader that stalls stops
/// nothing else; call [`LogQueue::flush`] before the process ends. Spans go to `traces`, too.
#[must_use]
pub fn start_log_on_stdout(format: LogFormat, traces: Option<&Traces>) -> LogQueue {
    let queue = LogQueue::start(std::io::stdout());
    let colors = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    subscriber(format, colors, queue.clone(), level_filter(), traces).init();
    log_panics();
    queue
}

/// Starts the log, written straight to `writer`, without colors.
pub fn start_log<W>(format: LogFormat, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    subscriber(format, false, writer, level_filter(), None).init();
    log_panics();
}

/// The level of this program's own lines: `RUST_LOG`, `info` by default.
fn level_filter() -> EnvFilter {
    EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy()
}

/// Writes the lines that `level` and [`is_allowed`] let pass.
///
/// Both are filters of the whole subscriber. A filter of one layer (`with_filter`) keeps its last decision until the
/// next event: when a library only asks whether a line would be logged, as sqlx does for each notice from Postgres, the
/// next line of this thread would be lost.
pub(super) fn subscriber<W>(
    format: LogFormat,
    colors: bool,
    writer: W,
    level: EnvFilter,
    traces: Option<&Traces>,
) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_ansi(colors).with_writer(writer);
    let lines = match format {
        LogFormat::Json => lines.json().fmt_fields(SpanFields).map_event_format(JsonLine::new).boxed(),
        LogFormat::Pretty => lines.compact().boxed(),
    };
    tracing_subscriber::registry()
        .with(traces.map(Traces::layer))
        .with(level)
        .with(FilterFn::new(is_allowed))
        .with(lines)
}

/// Libraries are held to warnings whatever `RUST_LOG` says: below that, some of them print requests with everything
/// that is secret in them.
fn is_allowed(metadata: &Metadata<'_>) -> bool {
    let own = metadata.target() == "renderhook" || metadata.target().starts_with("renderhook::");
    own || *metadata.level() <= Level::WARN
}

/// Logs where each panic happened. Its message may contain anything, so it is written only to stderr, as by default.
pub(crate) fn log_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let location = panic.location().map(ToString::to_string);
        error!(event = %LogEvent::ServicePanicked, location, "a defect in this program: please report this");
        print(panic);
    }));
}

#[cfg(test)]
mod tests {
    use tracing::{debug, error_span, info, warn};

    use super::*;
    use crate::runtime::CapturedLog;

    fn logged(format: LogFormat, colors: bool, log: impl FnOnce()) -> String {
        let (written, _guard) = CapturedLog::start(format, colors, "info");
        log();
        written.take()
    }

    #[test]
    fn a_line_after_a_question_whether_a_line_would_be_logged_is_written() {
        let text = logged(LogFormat::Json, false, || {
            // What sqlx does for each notice from Postgres, by way of the `log` crate.
            let notice = tracing::info_span!(target: "sqlx::postgres::notice", "a notice");
            let notice = notice.metadata().unwrap();
            info!("the first line");
            tracing::dispatcher::get_default(|dispatch| dispatch.enabled(notice));
            warn!("the second line");
        });
        assert!(text.contains("the first line") && text.contains("the second line"), "{text}");
    }

    #[test]
    fn libraries_are_held_to_warnings() {
        let text = logged(LogFormat::Json, false, || {
            info!(target: "hyper", "a request with a token");
            debug!("a detail");
            warn!(target: "hyper", "a warning");
        });
        assert!(text.contains("a warning") && !text.contains("token") && !text.contains("a detail"), "{text}");
    }

    #[test]
    fn colors_are_written_only_where_asked_for() {
        let text = |colors| logged(LogFormat::Pretty, colors, || info!("a line"));
        assert!(!text(false).contains('\u{1b}'));
        assert!(text(true).contains('\u{1b}'));
    }

    #[test]
    fn fields_of_spans_stand_beside_those_of_the_event() {
        let log = || {
            let outer = error_span!("outer", request.id = "a \"quoted\" id").entered();
            let inner = error_span!("inner", render.id = 7).entered();
            let bare = error_span!("bare").entered();
            info!(size_bytes = 1, "a line");
            drop((bare, inner, outer));
            info!("another line");
        };
        let text = logged(LogFormat::Json, false, log);
        let lines: Vec<serde_json::Map<_, _>> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<Vec<_>> = lines.iter().map(|line| line.keys().map(String::as_str).collect()).collect();
        let always = ["timestamp", "level", "message"];
        assert_eq!(names[0], [&always[..], &["size_bytes", "target", "request.id", "render.id"]].concat());
        assert_eq!(names[1], [&always[..], &["target"]].concat());
        assert_eq!((&lines[0]["request.id"], &lines[0]["render.id"]), (&"a \"quoted\" id".into(), &7.into()));

        let text = logged(LogFormat::Pretty, false, log);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].contains("request.id=") && lines[0].contains("render.id=7"), "{text}");
        assert!(!lines[1].contains("request.id"), "{text}");
    }
}
