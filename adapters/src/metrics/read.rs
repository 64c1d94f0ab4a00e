use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto;

/// A figure that somebody else keeps, read when it is asked for.
pub(super) struct Read {
    desc: Desc,
    kind: Kind,
    source: Box<dyn Fn() -> Vec<Sample> + Send + Sync>,
}

/// How a figure moves.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Up and down.
    Gauge,
    /// Up only.
    Counter,
}

/// One value, with the labels that tell it from others of its name.
pub(super) struct Sample {
    labels: Vec<(&'static str, &'static str)>,
    value: f64,
}

impl Sample {
    /// A value without labels. Beyond 2^53 it is rounded, as everything is in this format.
    #[expect(clippy::cast_precision_loss, reason = "the format has only floating point")]
    pub(super) fn plain(value: impl TryInto<u64>) -> Self {
        Self { labels: Vec::new(), value: value.try_into().unwrap_or(u64::MAX) as f64 }
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
        kind: Kind,
        name: &str,
        help: &str,
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) -> prometheus::Result<Self> {
        let desc = Desc::new(name.to_owned(), help.to_owned(), Vec::new(), HashMap::new())?;
        Ok(Self { desc, kind, source: Box::new(read) })
    }

    fn metric(&self, sample: &Sample) -> proto::Metric {
        let label = |(name, value): &(&str, &str)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let mut metric = proto::Metric::from_label(sample.labels.iter().map(label).collect());
        match self.kind {
            Kind::Gauge => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(sample.value);
                metric.set_gauge(gauge);
            }
            Kind::Counter => {
                let mut counter = proto::Counter::default();
                counter.set_value(sample.value);
                metric.set_counter(counter);
            }
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
        family.set_field_type(match self.kind {
            Kind::Gauge => proto::MetricType::GAUGE,
            Kind::Counter => proto::MetricType::COUNTER,
        });
        family.set_metric((self.source)().iter().map(|sample| self.metric(sample)).collect());
        vec![family]
    }
}
