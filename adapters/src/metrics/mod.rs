//! The metrics of a node, as Prometheus text.
//!
//! Ends of notifications and their waits are counted as they happen, by
//! [`Outcomes`](doorstep_domain::ports::Outcomes). All other figures are read at each scrape, so they cost nothing
//! in between. Every label has a bounded set of values. Each [`Metrics`] has its own registry: two nodes in a
//! process do not mix.

mod names;
mod outcomes;
mod read;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use doorstep_application::delivery::Delivery;
use doorstep_domain::ports::Backlog;
use prometheus::{Registry, TextEncoder};

pub use self::names::MetricDescription;
use self::outcomes::OutcomeCounts;
pub use self::read::MetricKind;
use self::read::{Read, Sample};
use crate::bus::Bus;
use crate::connections::{Connections, DisconnectReason, Traffic, Transport};

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The metrics of one node.
pub struct Metrics {
    registry: Registry,
    outcomes: Arc<OutcomeCounts>,
}

/// The metrics could not be registered: two of one name, or an invalid name.
#[derive(Debug, thiserror::Error)]
#[error("the metrics cannot be registered: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

impl Metrics {
    /// The number of kinds with time series of their own; all others share the kind `other`. Kinds are open, and
    /// each adds a time series per outcome.
    pub const MAX_KINDS: usize = 50;

    /// A registry in which nothing is counted yet.
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let outcomes = Arc::new(OutcomeCounts::new(&registry)?);
        Ok(Self { registry, outcomes })
    }

    /// Returns the observer that counts how notifications end, for the builder of a delivery.
    pub fn outcomes(&self) -> Arc<dyn doorstep_domain::ports::Outcomes> {
        self.outcomes.clone()
    }

    /// Adds the metrics of this delivery.
    pub fn delivery(&self, delivery: Arc<Delivery>) -> Result<(), MetricsError> {
        let held = |of: fn(&Delivery) -> usize| {
            let delivery = delivery.clone();
            move || vec![Sample::plain(of(&delivery))]
        };
        self.register(&names::NOTIFICATIONS_WAITING, held(|delivery| delivery.held().waiting))?;
        self.register(&names::NOTIFICATIONS_IN_FLIGHT, held(|delivery| delivery.held().in_flight))?;
        self.register(&names::MAILBOXES, held(|delivery| delivery.held().mailboxes))?;
        self.register(&names::PENDING_BYTES, held(|delivery| delivery.held().bytes))?;
        let caught = delivery.clone();
        self.register(&names::DELIVERY_PANICS, move || vec![Sample::plain(caught.panics())])?;
        self.register(&names::PRESENCE_CHECKS, move || {
            vec![Sample::plain(delivery.presence_checks())]
        })
    }

    /// Adds the metrics of these connections.
    pub fn connections(&self, connections: Arc<Connections>) -> Result<(), MetricsError> {
        let each = |f: fn(Traffic) -> Sample| {
            let connections = connections.clone();
            move || {
                let sample = |transport: &Transport| {
                    f(connections.traffic(*transport)).label("transport", transport.as_str())
                };
                Transport::ALL.iter().map(sample).collect()
            }
        };
        self.register(&names::CONNECTIONS, each(|traffic| Sample::plain(traffic.connections)))?;
        self.register(&names::FRAMES_QUEUED, each(|traffic| Sample::plain(traffic.frames_queued)))?;
        self.register(&names::CONNECTIONS_ENDED, move || {
            let sample = |reason: &DisconnectReason| {
                Sample::plain(connections.ended_by(*reason)).label("reason", reason.as_str())
            };
            DisconnectReason::ALL.iter().map(sample).collect()
        })
    }

    /// Adds the metrics of this bus and its handlers.
    pub fn bus(&self, bus: Bus) -> Result<(), MetricsError> {
        let events = bus.clone();
        self.register(&names::HANDLER_EVENTS, move || {
            let each = |stats: crate::bus::HandlerStats| {
                [("handled", stats.handled), ("failed", stats.failed), ("panicked", stats.panicked)]
                    .map(|(result, count)| {
                        Sample::plain(count).label("handler", stats.name).label("result", result)
                    })
            };
            events.stats().into_iter().flat_map(each).collect()
        })?;
        let queues = bus.clone();
        self.register(&names::HANDLER_QUEUE, move || {
            let each = |stats: crate::bus::HandlerStats| {
                Sample::plain(stats.queued).label("handler", stats.name)
            };
            queues.stats().into_iter().map(each).collect()
        })?;
        self.register(&names::HANDLER_BACKPRESSURE, move || {
            let each = |stats: crate::bus::HandlerStats| {
                Sample::plain(stats.backpressure_waits).label("handler", stats.name)
            };
            bus.stats().into_iter().map(each).collect()
        })
    }

    /// Adds the number of outcomes that a webhook has lost.
    pub fn webhook(
        &self,
        lost: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        self.register(&names::WEBHOOK_LOST, move || vec![Sample::plain(lost())])
    }

    /// Adds how much waits in an outbox, where this node consumes one, and how much it has taken.
    pub fn outbox(
        &self,
        backlog: impl Fn() -> Option<Backlog> + Clone + Send + Sync + 'static,
        consumed: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        let oldest = backlog.clone();
        self.register(&names::OUTBOX_WAITING, move || {
            backlog().map(|backlog| Sample::plain(backlog.waiting)).into_iter().collect()
        })?;
        self.register(&names::OUTBOX_OLDEST, move || {
            oldest().map(|backlog| Sample::seconds(backlog.oldest)).into_iter().collect()
        })?;
        self.register(&names::OUTBOX_ROWS, move || vec![Sample::plain(consumed())])
    }

    /// Adds how many read items were removed from the inbox.
    pub fn inbox_removed(
        &self,
        removed: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        self.register(&names::INBOX_REMOVED, move || vec![Sample::plain(removed())])
    }

    /// Adds how many seconds the server's certificate is still valid.
    pub fn certificate(
        &self,
        expires_in: impl Fn() -> Option<i64> + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        self.register(&names::TLS_CERTIFICATE_EXPIRES, move || {
            expires_in().map(Sample::signed).into_iter().collect()
        })
    }

    /// The current values, in the Prometheus text format 0.0.4.
    pub fn text(&self) -> Result<String, MetricsError> {
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
