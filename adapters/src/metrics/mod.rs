//! The metrics of a node, as Prometheus text.
//!
//! Ends of notifications and their waits are counted as they happen, by
//! [`Outcomes`](doorstep_domain::ports::Outcomes). All other figures are read at each scrape, so they cost nothing
//! in between. Every label has a bounded set of values. Each [`Metrics`] has its own registry: two nodes in a
//! process do not mix.
//!
//! | file | contents |
//! | --- | --- |
//! | `names` | every metric: name, type, labels, help text |
//! | `parts` | one method for each part of a node. A new part adds one here, and its metrics to `names` |
//! | `outcomes` | counts how notifications have ended |
//! | `process` | the figures of the process |
//! | `read` | a metric that is read at each scrape |

mod names;
mod outcomes;
mod parts;
mod process;
mod read;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use doorstep_application::delivery::Kinds;
use prometheus::{Registry, TextEncoder};

pub use self::names::MetricDescription;
use self::outcomes::OutcomeCounts;
use self::process::ProcessFigures;
pub use self::read::MetricKind;
use self::read::{Read, Sample};

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The metrics of one node.
pub struct Metrics {
    registry: Registry,
    kinds: Arc<Kinds>,
    outcomes: Arc<OutcomeCounts>,
    /// As read for the current scrape.
    process: Arc<Mutex<Option<ProcessFigures>>>,
}

/// The metrics could not be registered: two of one name, or an invalid name.
#[derive(Debug, thiserror::Error)]
#[error("the metrics cannot be registered: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

impl Metrics {
    /// A registry in which nothing is counted yet. It knows the process and its build.
    pub fn new() -> Result<Self, MetricsError> {
        let kinds = Arc::new(Kinds::default());
        let outcomes = Arc::new(OutcomeCounts::new(kinds.clone()));
        let (registry, process) = (Registry::new(), Arc::default());
        let metrics = Self { registry, kinds, outcomes, process };
        let ended = metrics.outcomes.clone();
        metrics.register(&names::NOTIFICATIONS_ENDED, move || ended.ended())?;
        let waits = metrics.outcomes.clone();
        metrics.register(&names::NOTIFICATION_WAIT, move || waits.waits())?;
        metrics.process()?;
        Ok(metrics)
    }

    /// Returns the observer that counts how notifications end, for the builder of a delivery.
    pub fn outcomes(&self) -> Arc<dyn doorstep_domain::ports::Outcomes> {
        self.outcomes.clone()
    }

    /// The kinds that have time series of their own, for the builder of a delivery.
    pub fn kinds(&self) -> Arc<Kinds> {
        self.kinds.clone()
    }

    /// The current values, in the Prometheus text format 0.0.4.
    pub fn text(&self) -> Result<String, MetricsError> {
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = ProcessFigures::read();
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }

    fn register(
        &self,
        metric: &MetricDescription,
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        Ok(self.registry.register(Box::new(Read::new(metric, read)?))?)
    }
}
