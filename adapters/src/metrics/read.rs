use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use super::MetricDescription;

/// A figure that another part of the node keeps, read at each scrape. Gauges and counters only.
pub(super) struct Read {
    desc: Desc,
    is_counter: bool,
    source: Box<dyn Fn() -> Vec<Sample> + Send + Sync>,
}

/// How the value of a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Up and down.
    Gauge,
    /// Up only.
    Counter,
    /// A count per range of values.
    Histogram,
}

impl MetricKind {
    /// The word in the `# TYPE` lines of `/metrics`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// One value with its labels.
pub(super) struct Sample {
    labels: Vec<(&'static str, &'static str)>,
    value: f64,
}

impl Sample {
    /// A value without labels. Values beyond 2^53 are rounded, because the format has only floating point.
    #[expect(clippy::cast_precision_loss, reason = "the format has only floating point")]
    pub(super) fn plain(value: impl TryInto<u64>) -> Self {
        Self { labels: Vec::new(), value: value.try_into().unwrap_or(u64::MAX) as f64 }
    }

    /// A value that may be negative.
    #[expect(clippy::cast_precision_loss, reason = "the format has only floating point")]
    pub(super) fn signed(value: i64) -> Self {
        Self { labels: Vec::new(), value: value as f64 }
    }

    /// A length of time.
    pub(super) fn seconds(length: std::time::Duration) -> Self {
        Self { labels: Vec::new(), value: length.as_secs_f64() }
    }

    pub(super) fn label(mut self, name: &'static str, value: &'static str) -> Self {
        self.labels.push((name, value));
        self
    }
}

impl Read {
    pub(super) fn new(
        metric: &MetricDescription,
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) -> prometheus::Result<Self> {
        let desc =
            Desc::new(metric.name.to_owned(), metric.help.to_owned(), Vec::new(), HashMap::new())?;
        Ok(Self { desc, is_counter: metric.kind == MetricKind::Counter, source: Box::new(read) })
    }

    fn metric(&self, sample: &Sample) -> proto::Metric {
        let label = |(name, value): &(&str, &str)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let mut metric = proto::Metric::from_label(sample.labels.iter().map(label).collect());
        if self.is_counter {
            let mut counter = proto::Counter::default();
            counter.set_value(sample.value);
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(sample.value);
            metric.set_gauge(gauge);
        }
        metric
    }
}

impl Collector for Read {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut family = proto::MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(if self.is_counter {
            proto::MetricType::COUNTER
        } else {
            proto::MetricType::GAUGE
        });
        family.set_metric((self.source)().iter().map(|sample| self.metric(sample)).collect());
        vec![family]
    }
}
