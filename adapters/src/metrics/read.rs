use std::borrow::Cow;
use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use super::MetricDescription;
use crate::figures::{BOUNDS_NANOS, LatencyCounts};

/// A figure that another part of the node keeps, read at each scrape.
pub(super) struct Read {
    desc: Desc,
    kind: MetricKind,
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
    labels: Vec<(&'static str, Cow<'static, str>)>,
    value: SampleValue,
}

enum SampleValue {
    Number(f64),
    Histogram(LatencyCounts),
}

impl Sample {
    /// A value without labels. Values beyond 2^53 are rounded, because the format has only floating point.
    #[expect(clippy::cast_precision_loss, reason = "the format has only floating point")]
    pub(super) fn plain(value: impl TryInto<u64>) -> Self {
        Self::number(value.try_into().unwrap_or(u64::MAX) as f64)
    }

    /// A value that may be negative.
    #[expect(clippy::cast_precision_loss, reason = "the format has only floating point")]
    pub(super) fn signed(value: i64) -> Self {
        Self::number(value as f64)
    }

    /// A length of time.
    pub(super) fn seconds(length: std::time::Duration) -> Self {
        Self::number(length.as_secs_f64())
    }

    /// Any number.
    pub(super) fn number(value: f64) -> Self {
        Self { labels: Vec::new(), value: SampleValue::Number(value) }
    }

    /// How long something took.
    pub(super) fn histogram(counts: LatencyCounts) -> Self {
        Self { labels: Vec::new(), value: SampleValue::Histogram(counts) }
    }

    pub(super) fn label(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.labels.push((name, value.into()));
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
        Ok(Self { desc, kind: metric.kind, source: Box::new(read) })
    }

    fn metric(&self, sample: &Sample) -> proto::Metric {
        let label = |(name, value): &(&str, Cow<'_, str>)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value.clone().into_owned());
            pair
        };
        let mut labels: Vec<_> = sample.labels.iter().map(label).collect();
        labels.sort_by(|one, other| one.name().cmp(other.name()));
        let mut metric = proto::Metric::from_label(labels);
        match &sample.value {
            SampleValue::Histogram(counts) => metric.set_histogram(histogram(counts)),
            SampleValue::Number(value) if self.kind == MetricKind::Counter => {
                let mut counter = proto::Counter::default();
                counter.set_value(*value);
                metric.set_counter(counter);
            }
            SampleValue::Number(value) => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(*value);
                metric.set_gauge(gauge);
            }
        }
        metric
    }
}

#[expect(clippy::cast_precision_loss, reason = "the format has only floating point")]
fn histogram(counts: &LatencyCounts) -> proto::Histogram {
    let mut histogram = proto::Histogram::default();
    let mut so_far = 0;
    let mut buckets = Vec::with_capacity(BOUNDS_NANOS.len());
    for (bound, count) in BOUNDS_NANOS.into_iter().zip(counts.buckets) {
        so_far += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(bound as f64 / 1e9);
        bucket.set_cumulative_count(so_far);
        buckets.push(bucket);
    }
    histogram.set_bucket(buckets);
    histogram.set_sample_count(counts.buckets.iter().sum());
    histogram.set_sample_sum(counts.sum.as_secs_f64());
    histogram
}

impl Collector for Read {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut family = proto::MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(match self.kind {
            MetricKind::Counter => proto::MetricType::COUNTER,
            MetricKind::Gauge => proto::MetricType::GAUGE,
            MetricKind::Histogram => proto::MetricType::HISTOGRAM,
        });
        family.set_metric((self.source)().iter().map(|sample| self.metric(sample)).collect());
        vec![family]
    }
}
