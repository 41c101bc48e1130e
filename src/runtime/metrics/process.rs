//! The metrics of this process, and how metrics become text.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{set_global_recorder, with_local_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
#[cfg(target_os = "linux")]
use metrics_process::Collector;

use super::family::{Metric, MetricType};
use crate::runtime::Shutdown;

/// How often recorded values are added up. Until then each of them takes memory.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The metrics that this process counts itself, since it started.
#[derive(Debug)]
pub struct ProcessMetrics {
    handle: PrometheusHandle,
    /// Memory, CPU time, and file descriptors: `process_*`.
    #[cfg(target_os = "linux")]
    collector: Collector,
}

impl ProcessMetrics {
    /// Starts to count `metrics`. There is one recorder in a process, so another call returns the same.
    pub fn start(metrics: &[&'static dyn Metric]) -> &'static Self {
        static STARTED: OnceLock<ProcessMetrics> = OnceLock::new();
        STARTED.get_or_init(|| {
            let recorder = recorder(metrics);
            let handle = recorder.handle();
            // OK to ignore: if there is a recorder already, it is not ours, and nothing is counted here.
            let _ = set_global_recorder(recorder);
            for metric in metrics {
                metric.register();
            }
            #[cfg(target_os = "linux")]
            let collector = Collector::default();
            #[cfg(target_os = "linux")]
            collector.describe();
            Self {
                handle,
                #[cfg(target_os = "linux")]
                collector,
            }
        })
    }

    /// Everything so far, in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        #[cfg(target_os = "linux")]
        self.collector.collect();
        self.handle.render()
    }

    /// Adds up recorded values, until the service stops.
    pub async fn run_upkeep(&self, shutdown: &Shutdown) {
        while !shutdown.is_stopping() {
            shutdown.sleep(UPKEEP_INTERVAL).await;
            self.handle.run_upkeep();
        }
    }
}

/// The text of `metrics` with the values that `set` sets now, and no others.
#[must_use]
pub fn rendered_now(metrics: &[&dyn Metric], set: impl FnOnce()) -> String {
    let recorder = recorder(metrics);
    with_local_recorder(&recorder, || {
        for metric in metrics {
            metric.register();
        }
        set();
    });
    recorder.handle().render()
}

fn recorder(metrics: &[&dyn Metric]) -> PrometheusRecorder {
    let mut builder = PrometheusBuilder::new();
    for metric in metrics {
        if let MetricType::Histogram(buckets) = metric.metric_type() {
            let matcher = Matcher::Full(metric.name().to_owned());
            builder = builder.set_buckets_for_metric(matcher, buckets).expect("a histogram has buckets");
        }
    }
    builder.build_recorder()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Kind;
    use crate::runtime::{CounterFamily, GaugeFamily, HistogramFamily};

    static COUNTED: CounterFamily<(Kind,)> = CounterFamily::new("counted_total", "Counted");
    static LEVEL: GaugeFamily<()> = GaugeFamily::new("level", "Level");
    static SIZES: HistogramFamily<()> = HistogramFamily::new("sizes", "Sizes", &[1.0, 10.0]);

    #[test]
    fn metrics_are_rendered_in_the_prometheus_format() {
        let text = rendered_now(&[&COUNTED, &LEVEL, &SIZES], || {
            COUNTED.add((Kind::Video,), 3);
            LEVEL.set((), -1.5);
            SIZES.observe((), 7.0);
        });
        for line in [
            "# HELP counted_total Counted",
            "# TYPE counted_total counter",
            "counted_total{kind=\"video\"} 3",
            "counted_total{kind=\"audio\"} 0",
            "# TYPE level gauge",
            "level -1.5",
            "# TYPE sizes histogram",
            "sizes_bucket{le=\"1\"} 0",
            "sizes_bucket{le=\"10\"} 1",
            "sizes_sum 7",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is missing in\n{text}");
        }
    }
}
