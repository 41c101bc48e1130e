//! Counters, gauges and histograms, each a family: one series per combination of labels.

use std::marker::PhantomData;

use metrics::{Key, Level, Metadata, with_recorder};

use super::labels::{LabelSet, ListedLabels};

/// The metadata that recorders get. Nothing filters by it.
static METADATA: Metadata<'static> = Metadata::new("renderhook", Level::INFO, None);

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricType {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
    /// The distribution of values, in buckets with these upper limits.
    Histogram(&'static [f64]),
}

impl MetricType {
    /// The name in the Prometheus text format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// A metric, whatever its type and labels are.
pub trait Metric: Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Its type.
    fn metric_type(&self) -> MetricType;

    /// The names of its labels.
    fn labels(&self) -> &'static [&'static str];

    /// Describes it to the current recorder, and reports a counter's known series as 0.
    fn register(&self);
}

/// A name and a help text, with labels of type `L`.
#[derive(Debug)]
struct Family<L> {
    name: &'static str,
    help: &'static str,
    labels: PhantomData<fn(L)>,
}

impl<L: LabelSet> Family<L> {
    fn key(&self, labels: L) -> Key {
        Key::from_parts(self.name, labels.labels())
    }
}

/// Counts events.
#[derive(Debug)]
pub struct CounterFamily<L>(Family<L>);

impl<L: ListedLabels> CounterFamily<L> {
    /// A counter. Its name ends in `_total`.
    #[must_use]
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self(Family { name, help, labels: PhantomData })
    }

    /// Adds `count`.
    pub fn add(&self, labels: L, count: u64) {
        let key = self.0.key(labels);
        with_recorder(|recorder| recorder.register_counter(&key, &METADATA).increment(count));
    }

    /// Sets a total that is counted elsewhere.
    pub fn set(&self, labels: L, total: u64) {
        let key = self.0.key(labels);
        with_recorder(|recorder| recorder.register_counter(&key, &METADATA).absolute(total));
    }
}

impl<L: ListedLabels> Metric for CounterFamily<L> {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }

    fn labels(&self) -> &'static [&'static str] {
        L::NAMES
    }

    fn register(&self) {
        with_recorder(|recorder| recorder.describe_counter(self.0.name.into(), None, self.0.help.into()));
        for labels in L::all() {
            self.add(labels, 0);
        }
    }
}

/// A value at this moment.
#[derive(Debug)]
pub struct GaugeFamily<L>(Family<L>);

impl<L: LabelSet> GaugeFamily<L> {
    /// A gauge.
    #[must_use]
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self(Family { name, help, labels: PhantomData })
    }

    /// Sets the value.
    pub fn set(&self, labels: L, value: f64) {
        let key = self.0.key(labels);
        with_recorder(|recorder| recorder.register_gauge(&key, &METADATA).set(value));
    }
}

impl<L: LabelSet> Metric for GaugeFamily<L> {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn labels(&self) -> &'static [&'static str] {
        L::NAMES
    }

    fn register(&self) {
        with_recorder(|recorder| recorder.describe_gauge(self.0.name.into(), None, self.0.help.into()));
    }
}

/// How values are distributed.
#[derive(Debug)]
pub struct HistogramFamily<L> {
    family: Family<L>,
    buckets: &'static [f64],
}

impl<L: LabelSet> HistogramFamily<L> {
    /// A histogram with these upper limits of its buckets, in ascending order.
    #[must_use]
    pub const fn new(name: &'static str, help: &'static str, buckets: &'static [f64]) -> Self {
        Self { family: Family { name, help, labels: PhantomData }, buckets }
    }

    /// Adds a value.
    pub fn observe(&self, labels: L, value: f64) {
        let key = self.family.key(labels);
        with_recorder(|recorder| recorder.register_histogram(&key, &METADATA).record(value));
    }
}

impl<L: LabelSet> Metric for HistogramFamily<L> {
    fn name(&self) -> &'static str {
        self.family.name
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram(self.buckets)
    }

    fn labels(&self) -> &'static [&'static str] {
        L::NAMES
    }

    fn register(&self) {
        with_recorder(|recorder| recorder.describe_histogram(self.family.name.into(), None, self.family.help.into()));
    }
}
