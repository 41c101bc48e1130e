//! Metrics for Prometheus.
//!
//! A metric is a `static` beside the code that it counts, with its name, its help and the type of its labels. Labels are
//! enums, so their number is bounded. Each room lists its metrics in a `METRICS`, from which the docs' table is checked.
//! Until [`ProcessMetrics::start`], as in commands that are not `serve`, recording does nothing.

mod family;
mod labels;
mod process;

pub use self::family::{CounterFamily, GaugeFamily, HistogramFamily, Metric, MetricType};
pub(crate) use self::labels::label_value;
pub use self::labels::{LabelSet, LabelValue, ListedLabels};
pub use self::process::{ProcessMetrics, rendered_now};
