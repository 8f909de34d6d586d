//! The text of Prometheus.
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use super::Snapshot;
use super::family::{Family, Kind, Value};

/// The `Content-Type` of [`Snapshot::encode`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

impl Snapshot {
    /// Writes the metrics as Prometheus reads them: its text format, version 0.0.4.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Collected(self.clone())));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).expect("a string takes any text");
        text
    }
}

#[derive(Debug)]
struct Collected(Snapshot);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.0.families() {
            let Family { name, help, kind, samples } = family;
            let (name, kind) = match kind {
                // The encoder adds it.
                Kind::Counter => (name.trim_end_matches("_total"), MetricType::Counter),
                Kind::Gauge => (*name, MetricType::Gauge),
                Kind::Histogram => (*name, MetricType::Histogram),
            };
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for sample in samples {
                value(&mut metric.encode_family(&sample.labels)?, kind, &sample.value)?;
            }
        }
        Ok(())
    }
}

fn value(metric: &mut MetricEncoder<'_>, kind: MetricType, value: &Value) -> fmt::Result {
    /// Nothing has an example.
    const NONE: Option<&Exemplar<NoLabelSet, f64>> = None;
    let is_counter = kind == MetricType::Counter;
    match value {
        Value::Whole(n) if is_counter => metric.encode_counter(n, NONE),
        Value::Seconds(seconds) if is_counter => metric.encode_counter(seconds, NONE),
        Value::Whole(n) => metric.encode_gauge(n),
        Value::Seconds(seconds) => metric.encode_gauge(seconds),
        Value::Times { buckets, sum } => {
            let count = buckets.iter().map(|(_, n)| *n).sum();
            metric.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
        }
    }
}
