//! What a node counts, as Prometheus text.
//!
//! What happens is counted where it happens: how notifications end and how long they waited, by
//! [`Outcomes`](doorstep_domain::ports::Outcomes). What is known elsewhere is read when somebody asks, so
//! that it costs nothing between two scrapes. Every label has a bounded set of values, and each [`Metrics`]
//! has a registry of its own: two nodes in a process do not mix.

mod outcomes;
mod read;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use doorstep_application::delivery::Delivery;
use doorstep_domain::ports::Backlog;
use prometheus::{Registry, TextEncoder};

use self::outcomes::OutcomeCounts;
use self::read::{Kind, Read, Sample};
use crate::bus::Bus;
use crate::connections::{CloseReason, Connections, Traffic, Transport};

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The figures of one node.
pub struct Metrics {
    registry: Registry,
    outcomes: Arc<OutcomeCounts>,
}

/// The figures could not be put together: two of one name, or a name that is none.
#[derive(Debug, thiserror::Error)]
#[error("the metrics are wrong: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

impl Metrics {
    /// So many kinds of notifications are told apart; the rest are `other`. Kinds are open, and each costs
    /// whoever keeps the figures a time series for every outcome.
    pub const MAX_KINDS: usize = 50;

    /// Nothing counted yet.
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let outcomes = Arc::new(OutcomeCounts::new(&registry)?);
        Ok(Self { registry, outcomes })
    }

    /// Counts how notifications end: for the builder of a delivery.
    pub fn outcomes(&self) -> Arc<dyn doorstep_domain::ports::Outcomes> {
        self.outcomes.clone()
    }

    /// Reads what this delivery holds and does.
    pub fn delivery(&self, delivery: Arc<Delivery>) -> Result<(), MetricsError> {
        let held = |of: fn(&Delivery) -> usize| {
            let delivery = delivery.clone();
            move || vec![Sample::plain(of(&delivery))]
        };
        self.gauge(
            "doorstep_notifications_waiting",
            "Notifications that wait for their user.",
            held(|delivery| delivery.held().waiting),
        )?;
        self.gauge(
            "doorstep_notifications_in_flight",
            "Notifications that were pushed and are not acknowledged yet.",
            held(|delivery| delivery.held().in_flight),
        )?;
        self.gauge(
            "doorstep_mailboxes",
            "Users for whom something waits.",
            held(|delivery| delivery.held().mailboxes),
        )?;
        self.gauge(
            "doorstep_pending_bytes",
            "Payload of all that waits or is in flight, in bytes.",
            held(|delivery| delivery.held().bytes),
        )?;
        let caught = delivery.clone();
        self.counter(
            "doorstep_delivery_panics_total",
            "Panics in the code behind a port that delivery caught.",
            move || vec![Sample::plain(caught.panics())],
        )?;
        self.counter(
            "doorstep_presence_checks_total",
            "How often delivery looked whether a user is there.",
            move || vec![Sample::plain(delivery.presence_checks())],
        )
    }

    /// Reads what these connections carry, and why they ended.
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
        self.gauge(
            "doorstep_connections",
            "Live connections, by transport.",
            each(|traffic| Sample::plain(traffic.connections)),
        )?;
        self.counter(
            "doorstep_frames_queued_total",
            "Frames handed to connections; one notification is one for each connection of its user.",
            each(|traffic| Sample::plain(traffic.frames_queued)),
        )?;
        self.counter(
            "doorstep_connections_ended_total",
            "Connections that ended, by reason.",
            move || {
                let sample = |reason: &CloseReason| {
                    Sample::plain(connections.ended_by(*reason)).label("reason", reason.as_str())
                };
                CloseReason::ALL.iter().map(sample).collect()
            },
        )
    }

    /// Reads what the handlers of this bus have done.
    pub fn bus(&self, bus: Bus) -> Result<(), MetricsError> {
        let events = bus.clone();
        self.counter(
            "doorstep_handler_events_total",
            "Events that a handler has dealt with, by what came of it.",
            move || {
                let each = |stats: crate::bus::HandlerStats| {
                    [
                        ("handled", stats.handled),
                        ("failed", stats.failed),
                        ("panicked", stats.panicked),
                    ]
                    .map(|(result, count)| {
                        Sample::plain(count).label("handler", stats.name).label("result", result)
                    })
                };
                events.stats().into_iter().flat_map(each).collect()
            },
        )?;
        let queues = bus.clone();
        self.gauge(
            "doorstep_handler_queue_events",
            "Events that wait in a handler's queue.",
            move || {
                let each = |stats: crate::bus::HandlerStats| {
                    Sample::plain(stats.queued).label("handler", stats.name)
                };
                queues.stats().into_iter().map(each).collect()
            },
        )?;
        self.counter(
            "doorstep_handler_backpressure_total",
            "Publishes that had to wait because a handler's queue was full.",
            move || {
                let each = |stats: crate::bus::HandlerStats| {
                    Sample::plain(stats.backpressure_waits).label("handler", stats.name)
                };
                bus.stats().into_iter().map(each).collect()
            },
        )
    }

    /// Reads how many outcomes a webhook has lost.
    pub fn webhook(
        &self,
        lost: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        self.counter(
            "doorstep_webhook_lost_total",
            "Outcomes that the webhook's receiver was not told of.",
            move || vec![Sample::plain(lost())],
        )
    }

    /// Reads how much waits in an outbox, where this node consumes one, and how much it has taken.
    pub fn outbox(
        &self,
        backlog: impl Fn() -> Option<Backlog> + Clone + Send + Sync + 'static,
        consumed: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        let oldest = backlog.clone();
        self.gauge(
            "doorstep_outbox_rows_waiting",
            "Rows of the outbox that wait to be consumed.",
            move || backlog().map(|backlog| Sample::plain(backlog.waiting)).into_iter().collect(),
        )?;
        self.gauge(
            "doorstep_outbox_oldest_seconds",
            "How long the oldest row of the outbox has waited.",
            move || oldest().map(|backlog| Sample::seconds(backlog.oldest)).into_iter().collect(),
        )?;
        self.counter(
            "doorstep_outbox_rows_total",
            "Rows of the outbox that this node has taken.",
            move || vec![Sample::plain(consumed())],
        )
    }

    /// All figures as they are now, in the Prometheus text format 0.0.4.
    pub fn text(&self) -> Result<String, MetricsError> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }

    fn gauge(
        &self,
        name: &str,
        help: &str,
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        Ok(self.registry.register(Box::new(Read::new(Kind::Gauge, name, help, read)?))?)
    }

    fn counter(
        &self,
        name: &str,
        help: &str,
        read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        Ok(self.registry.register(Box::new(Read::new(Kind::Counter, name, help, read)?))?)
    }
}
