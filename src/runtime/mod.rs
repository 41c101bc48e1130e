//! What every room builds on: clock, database, wakeups, shutdown, log, metrics, and traces.

mod batches;
#[cfg(test)]
mod captured_log;
mod clock;
mod composite;
mod database;
mod descriptors;
mod json_line;
mod log;
mod log_queue;
mod metrics;
mod shutdown;
mod signals;
mod span_fields;
mod tallies;
mod telemetry;
mod traces;
mod wakeups;

pub use self::batches::{BatchLimits, BatchPlace, form_batches};
#[cfg(test)]
pub(crate) use self::captured_log::CapturedLog;
pub use self::clock::Clock;
pub(crate) use self::composite::composite_type;
pub use self::database::{
    BACKGROUND_TIMEOUT, ConnectError, Database, DatabaseError, DatabaseUrls, DirectUrl, InspectError, Inspection,
    MIGRATIONS, MigrationError, PoolUse, Pooling, REQUEST_TIMEOUT, begin, inspect_database,
};
pub use self::descriptors::raise_descriptor_limit;
pub use self::log::LogEvent;
pub use self::log_queue::LogQueue;
pub(crate) use self::metrics::label_value;
pub use self::metrics::{
    CounterFamily, GaugeFamily, HistogramFamily, LabelSet, LabelValue, ListedLabels, Metric, MetricType,
    ProcessMetrics, rendered_now,
};
pub use self::shutdown::Shutdown;
pub use self::signals::stop_signal;
pub use self::tallies::{Tallies, Tally, Totals};
#[cfg(test)]
pub(crate) use self::telemetry::log_panics;
pub use self::telemetry::{LogFormat, start_log, start_log_on_stdout};
pub use self::traces::Traces;
pub(crate) use self::traces::{are_traced, continue_trace, set_attribute};
pub use self::wakeups::Wakeups;
