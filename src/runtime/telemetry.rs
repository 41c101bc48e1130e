//! Where the log goes: one event a line.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt, FilterFn, LevelFilter};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line, for programs.
    Json,
    /// Lines for people.
    Pretty,
}

/// Starts the log, written to `writer`. `RUST_LOG` sets what of this program's own is told, `info` by default.
///
/// Libraries are held to warnings whatever `RUST_LOG` says: below that some of them print requests as they are, with
/// what only the two ends of a connection should know.
pub fn start<W>(format: LogFormat, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let wanted = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let filter = wanted.and(FilterFn::new(may_be_told));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match format {
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).with_filter(filter).boxed()
        }
        LogFormat::Pretty => lines.compact().with_filter(filter).boxed(),
    };
    tracing_subscriber::registry().with(lines).init();
}

fn may_be_told(metadata: &Metadata<'_>) -> bool {
    let own = metadata.target() == "renderhook" || metadata.target().starts_with("renderhook::");
    own || *metadata.level() <= Level::WARN
}
