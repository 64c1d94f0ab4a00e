use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use doorstep_domain::ports::Outcomes;
use doorstep_domain::{Ended, Kind};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::{MetricDescription, Metrics, names};

/// The label of all kinds beyond the limit.
const OTHER: &str = "other";

/// Buckets in seconds, from a push that finds its user connected to the longest usual TTL.
const WAITS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0,
];

/// Counts how notifications have ended.
pub(super) struct OutcomeCounts {
    ended: IntCounterVec,
    waits: HistogramVec,
    kinds: RwLock<HashSet<Kind>>,
}

impl OutcomeCounts {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let MetricDescription { name, help, labels, .. } = names::NOTIFICATIONS_ENDED;
        let ended = IntCounterVec::new(Opts::new(name, help), labels)?;
        let MetricDescription { name, help, labels, .. } = names::NOTIFICATION_WAIT;
        let options = HistogramOpts::new(name, help).buckets(WAITS.to_vec());
        let waits = HistogramVec::new(options, labels)?;
        registry.register(Box::new(ended.clone()))?;
        registry.register(Box::new(waits.clone()))?;
        Ok(Self { ended, waits, kinds: RwLock::default() })
    }

    /// Whether this kind has a time series of its own.
    fn is_told_apart(&self, kind: &Kind) -> bool {
        {
            let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
            if kinds.contains(kind) {
                return true;
            }
            if kinds.len() >= Metrics::MAX_KINDS {
                return false;
            }
        }
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() < Metrics::MAX_KINDS {
            kinds.insert(kind.clone());
        }
        kinds.contains(kind)
    }
}

#[async_trait]
impl Outcomes for OutcomeCounts {
    async fn ended(&self, ended: Vec<Ended>) {
        for end in ended {
            let outcome = end.outcome.as_str();
            let kind = if self.is_told_apart(&end.kind) { end.kind.as_str() } else { OTHER };
            self.ended.with_label_values(&[outcome, kind]).inc();
            self.waits.with_label_values(&[outcome]).observe(end.waited.as_secs_f64());
        }
    }
}
