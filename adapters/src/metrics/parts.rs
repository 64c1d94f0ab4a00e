//! Adds the figures of each part of a node to its metrics.

use std::sync::{Arc, PoisonError};

use doorstep_application::delivery::{ClusterCounts, Delivery, Standing, Usage};
use doorstep_application::outbox::ConsumerState;

use super::process::ProcessFigures;
use super::read::Sample;
use super::{Metrics, MetricsError, names};
use crate::bus::{Bus, HandlerStats};
use crate::connections::{ConnectionRefusal, Connections, DisconnectReason, Traffic, Transport};
use crate::figures::{LogFigures, StoreFigures, WebhookFigures};

impl Metrics {
    /// Adds the metrics of this delivery.
    pub fn delivery(&self, delivery: &Arc<Delivery>) -> Result<(), MetricsError> {
        let one = |of: fn(&Delivery) -> Sample| {
            let delivery = delivery.clone();
            move || vec![of(&delivery)]
        };
        let waiting = delivery.clone();
        self.register(&names::NOTIFICATIONS_WAITING, move || {
            let each = waiting.waiting();
            each.map(|of| Sample::plain(of.waiting).label("kind", of.kind.to_owned())).collect()
        })?;
        let oldest = delivery.clone();
        self.register(&names::OLDEST_WAITING, move || {
            let each = oldest.waiting();
            each.map(|of| Sample::seconds(of.oldest).label("kind", of.kind.to_owned())).collect()
        })?;
        self.register(&names::NOTIFICATIONS_IN_FLIGHT, one(|d| Sample::plain(d.held().in_flight)))?;
        self.register(&names::MAILBOXES, one(|d| Sample::plain(d.held().mailboxes)))?;
        self.register(&names::TIMER_LAG, one(|d| Sample::seconds(d.overdue())))?;
        let usage = |of: fn(Usage) -> usize| {
            let delivery = delivery.clone();
            move || vec![Sample::plain(of(delivery.usage()))]
        };
        self.register(&names::PENDING, usage(|usage| usage.pending))?;
        self.register(&names::PENDING_LIMIT, usage(|usage| usage.max_pending))?;
        self.register(&names::PENDING_BYTES, usage(|usage| usage.bytes))?;
        self.register(&names::PENDING_BYTES_LIMIT, usage(|usage| usage.max_bytes))?;
        self.register(&names::NOTIFICATIONS_ACCEPTED, one(|d| Sample::plain(d.accepted())))?;
        let refused = delivery.clone();
        self.register(&names::NOTIFICATIONS_REFUSED, move || {
            let each = refused.refused().into_iter();
            each.map(|(reason, count)| Sample::plain(count).label("reason", reason)).collect()
        })?;
        self.register(&names::DELIVERY_PANICS, one(|d| Sample::plain(d.panics())))?;
        self.register(&names::PRESENCE_CHECKS, one(|d| Sample::plain(d.presence_checks())))
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
        self.register(&names::PUSHES, each(|traffic| Sample::histogram(traffic.pushes)))?;
        let refused = connections.clone();
        self.register(&names::CONNECTIONS_REFUSED, move || {
            let sample = |reason: &ConnectionRefusal| {
                Sample::plain(refused.refused_by(*reason)).label("reason", reason.as_str())
            };
            ConnectionRefusal::ALL.iter().map(sample).collect()
        })?;
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
            let each = |stats: HandlerStats| {
                [("handled", stats.handled), ("failed", stats.failed), ("panicked", stats.panicked)]
                    .map(|(result, count)| {
                        Sample::plain(count).label("handler", stats.name).label("result", result)
                    })
            };
            events.stats().into_iter().flat_map(each).collect()
        })?;
        let queues = bus.clone();
        self.register(&names::HANDLER_QUEUE, move || {
            let each =
                |stats: HandlerStats| Sample::plain(stats.queued).label("handler", stats.name);
            queues.stats().into_iter().map(each).collect()
        })?;
        self.register(&names::HANDLER_BACKPRESSURE, move || {
            let each = |stats: HandlerStats| {
                Sample::plain(stats.backpressure_waits).label("handler", stats.name)
            };
            bus.stats().into_iter().map(each).collect()
        })
    }

    /// Adds the metrics of a store.
    pub fn store(
        &self,
        figures: impl Fn() -> StoreFigures + Clone + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        let read = figures.clone();
        self.register(&names::STORE_OPERATIONS, move || {
            let each = read().operations.into_iter();
            each.map(|(name, took, _)| Sample::histogram(took).label("operation", name)).collect()
        })?;
        let read = figures.clone();
        self.register(&names::STORE_FAILURES, move || {
            let each = read().operations.into_iter();
            each.map(|(name, _, failed)| Sample::plain(failed).label("operation", name)).collect()
        })?;
        let read = figures.clone();
        self.register(&names::STORE_CONNECTIONS, move || {
            let each = read().pools.into_iter().flat_map(|pool| {
                [("idle", pool.idle), ("in_use", pool.in_use)].map(|(state, count)| {
                    Sample::plain(count).label("pool", pool.name).label("state", state)
                })
            });
            each.collect()
        })?;
        self.register(&names::STORE_CONNECTIONS_LIMIT, move || {
            let each = figures().pools.into_iter();
            each.map(|pool| Sample::plain(pool.limit).label("pool", pool.name)).collect()
        })
    }

    /// Adds the metrics of a webhook.
    pub fn webhook(
        &self,
        figures: impl Fn() -> WebhookFigures + Clone + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        let one = |of: fn(WebhookFigures) -> Sample| {
            let figures = figures.clone();
            move || vec![of(figures())]
        };
        self.register(&names::WEBHOOK_WAITING, one(|webhook| Sample::plain(webhook.waiting)))?;
        self.register(&names::WEBHOOK_OLDEST, one(|webhook| Sample::seconds(webhook.oldest)))?;
        self.register(&names::WEBHOOK_LOST, one(|webhook| Sample::plain(webhook.lost)))?;
        self.register(&names::WEBHOOK_TIMES, one(|webhook| Sample::histogram(webhook.requests)))?;
        self.register(&names::WEBHOOK_REQUESTS, move || {
            let WebhookFigures { accepted, failed, .. } = figures();
            let each = [("accepted", accepted), ("failed", failed)].into_iter();
            each.map(|(result, count)| Sample::plain(count).label("result", result)).collect()
        })
    }

    /// Adds how much waits in an outbox, where this node consumes one, and how much it has taken.
    pub fn outbox(&self, consumer: &Arc<ConsumerState>) -> Result<(), MetricsError> {
        let read = |of: fn(&ConsumerState) -> Option<Sample>| {
            let consumer = consumer.clone();
            move || of(&consumer).into_iter().collect()
        };
        self.register(
            &names::OUTBOX_CONSUMING,
            read(|consumer| Some(Sample::plain(u8::from(consumer.consumes())))),
        )?;
        self.register(
            &names::OUTBOX_WAITING,
            read(|consumer| consumer.backlog().map(|backlog| Sample::plain(backlog.waiting))),
        )?;
        self.register(
            &names::OUTBOX_OLDEST,
            read(|consumer| consumer.backlog().map(|backlog| Sample::seconds(backlog.oldest))),
        )?;
        self.register(
            &names::OUTBOX_ROWS,
            read(|consumer| Some(Sample::plain(consumer.consumed()))),
        )?;
        self.register(
            &names::OUTBOX_REJECTED,
            read(|consumer| Some(Sample::plain(consumer.rejected()))),
        )
    }

    /// Adds what a node of a cluster does, and how its log answers.
    pub fn cluster(
        &self,
        delivery: &Arc<Delivery>,
        log: impl Fn() -> LogFigures + Clone + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        let each = |of: fn(ClusterCounts) -> Vec<Sample>| {
            let delivery = delivery.clone();
            move || delivery.cluster_counts().map(of).unwrap_or_default()
        };
        let reads = delivery.clone();
        self.register(&names::CLUSTER_UP_TO_DATE, move || {
            let standing = reads.standing().map(|standing| standing.borrow().clone());
            vec![Sample::plain(u8::from(standing == Some(Standing::UpToDate)))]
        })?;
        let lag = log.clone();
        self.register(&names::CLUSTER_LAG, move || vec![Sample::plain(lag().lag)])?;
        self.register(
            &names::CLUSTER_CATCH_UP,
            each(|counts| counts.caught_up_in.map(Sample::seconds).into_iter().collect()),
        )?;
        self.register(&names::CLUSTER_ENTRIES, each(|counts| vec![Sample::plain(counts.entries)]))?;
        self.register(
            &names::CLUSTER_SKIPPED,
            each(|counts| {
                let each = [("unreadable", counts.unreadable), ("newer", counts.newer)];
                each.map(|(reason, count)| Sample::plain(count).label("reason", reason)).into()
            }),
        )?;
        self.register(
            &names::CLUSTER_APPENDS,
            each(|counts| {
                let each = [
                    ("won", counts.won),
                    ("lost", counts.lost),
                    ("unknown", counts.unknown),
                    ("refused", counts.refused),
                ];
                each.map(|(result, count)| Sample::plain(count).label("result", result)).into()
            }),
        )?;
        self.register(&names::CLUSTER_APPEND_TIMES, move || {
            vec![Sample::histogram(log().appends)]
        })?;
        self.register(
            &names::CLUSTER_ENDS,
            each(|counts| {
                let each = [("this_node", counts.ended_here), ("others", counts.ended_by_others)];
                each.map(|(by, count)| Sample::plain(count).label("by", by)).into()
            }),
        )?;
        self.register(&names::CLUSTER_OPEN, each(|counts| vec![Sample::plain(counts.open)]))?;
        self.register(&names::CLUSTER_PROPOSED, each(|counts| vec![Sample::plain(counts.proposed)]))
    }

    /// Adds how the server has answered: each status code with its number of responses.
    pub fn responses(
        &self,
        counts: impl Fn() -> Vec<(u16, u64)> + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        self.register(&names::HTTP_RESPONSES, move || {
            let each = counts().into_iter();
            each.map(|(code, count)| Sample::plain(count).label("code", code.to_string())).collect()
        })
    }

    /// Adds whether the node was ready when it was asked last: before each scrape, by `/metrics`.
    pub fn readiness(
        &self,
        is_ready: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<(), MetricsError> {
        self.register(&names::READY, move || vec![Sample::plain(u8::from(is_ready()))])
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

    /// Adds the process and its build.
    pub(super) fn process(&self) -> Result<(), MetricsError> {
        self.register(&names::BUILD_INFO, || {
            let info = Sample::plain(1_u8).label("version", env!("CARGO_PKG_VERSION"));
            let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
            vec![info.label("arch", arch).label("os", os)]
        })?;
        let read = |of: fn(ProcessFigures) -> f64| {
            let process = self.process.clone();
            move || {
                let process = *process.lock().unwrap_or_else(PoisonError::into_inner);
                process.map(|process| Sample::number(of(process))).into_iter().collect()
            }
        };
        self.register(&names::PROCESS_CPU, read(|process| process.cpu_seconds))?;
        self.register(&names::PROCESS_RESIDENT, read(|process| process.resident_bytes))?;
        self.register(&names::PROCESS_VIRTUAL, read(|process| process.virtual_bytes))?;
        self.register(&names::PROCESS_OPEN_FDS, read(|process| process.open_files))?;
        self.register(&names::PROCESS_MAX_FDS, read(|process| process.max_files))?;
        self.register(&names::PROCESS_START, read(|process| process.started_seconds))
    }
}
