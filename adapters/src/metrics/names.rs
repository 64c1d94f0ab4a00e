//! Every metric of a node: its name, labels and help text. `docs/metrics.md` lists the same.

use super::read::MetricKind;

/// One metric, as `/metrics` describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricDescription {
    /// The name, which begins with `doorstep_`.
    pub name: &'static str,
    /// How its value moves.
    pub kind: MetricKind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it measures.
    pub help: &'static str,
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricDescription {
    MetricDescription { name, kind: MetricKind::Gauge, labels, help }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricDescription {
    MetricDescription { name, kind: MetricKind::Counter, labels, help }
}

pub(super) const NOTIFICATIONS_WAITING: MetricDescription =
    gauge("doorstep_notifications_waiting", &[], "Notifications that wait for their user.");

pub(super) const NOTIFICATIONS_IN_FLIGHT: MetricDescription = gauge(
    "doorstep_notifications_in_flight",
    &[],
    "Notifications that were pushed and are not acknowledged yet.",
);

pub(super) const MAILBOXES: MetricDescription =
    gauge("doorstep_mailboxes", &[], "Users with at least one waiting notification.");

pub(super) const PENDING_BYTES: MetricDescription = gauge(
    "doorstep_pending_bytes",
    &[],
    "Payload bytes of all notifications that wait or are in flight.",
);

pub(super) const NOTIFICATIONS_ENDED: MetricDescription = counter(
    "doorstep_notifications_ended_total",
    &["outcome", "kind"],
    "Notifications that have ended, by outcome and kind.",
);

pub(super) const NOTIFICATION_WAIT: MetricDescription = MetricDescription {
    name: "doorstep_notification_wait_seconds",
    kind: MetricKind::Histogram,
    labels: &["outcome"],
    help: "Time from a notification's creation to its end, by outcome.",
};

pub(super) const DELIVERY_PANICS: MetricDescription = counter(
    "doorstep_delivery_panics_total",
    &[],
    "Panics in the code behind a port that delivery caught.",
);

pub(super) const PRESENCE_CHECKS: MetricDescription = counter(
    "doorstep_presence_checks_total",
    &[],
    "How often delivery checked whether a user is connected.",
);

pub(super) const CONNECTIONS: MetricDescription =
    gauge("doorstep_connections", &["transport"], "Live connections, by transport.");

pub(super) const FRAMES_QUEUED: MetricDescription = counter(
    "doorstep_frames_queued_total",
    &["transport"],
    "Frames queued for connections; a notification counts once per connection of its user.",
);

pub(super) const CONNECTIONS_ENDED: MetricDescription = counter(
    "doorstep_connections_ended_total",
    &["reason"],
    "Connections that have ended, by reason.",
);

pub(super) const HANDLER_EVENTS: MetricDescription = counter(
    "doorstep_handler_events_total",
    &["handler", "result"],
    "Events that a handler has processed, by result.",
);

pub(super) const HANDLER_QUEUE: MetricDescription =
    gauge("doorstep_handler_queue_events", &["handler"], "Events that wait in a handler's queue.");

pub(super) const HANDLER_BACKPRESSURE: MetricDescription = counter(
    "doorstep_handler_backpressure_total",
    &["handler"],
    "Publishes that had to wait because a handler's queue was full.",
);

pub(super) const WEBHOOK_LOST: MetricDescription = counter(
    "doorstep_webhook_lost_total",
    &[],
    "Outcomes that were lost before the webhook's receiver took them.",
);

pub(super) const OUTBOX_WAITING: MetricDescription = gauge(
    "doorstep_outbox_rows_waiting",
    &[],
    "Rows of the outbox that wait, on the node that consumes it; counted up to a million.",
);

pub(super) const OUTBOX_OLDEST: MetricDescription = gauge(
    "doorstep_outbox_oldest_seconds",
    &[],
    "How long the oldest row of the outbox has waited, on the node that consumes it.",
);

pub(super) const OUTBOX_ROWS: MetricDescription =
    counter("doorstep_outbox_rows_total", &[], "Rows of the outbox that this node has taken.");

pub(super) const INBOX_REMOVED: MetricDescription = counter(
    "doorstep_inbox_removed_total",
    &[],
    "Read items that this node has removed from the inbox.",
);

pub(super) const TLS_CERTIFICATE_EXPIRES: MetricDescription = gauge(
    "doorstep_tls_certificate_expires_seconds",
    &[],
    "How long the certificate in use is still valid; negative after its end.",
);

impl MetricDescription {
    /// Every metric, in the order of `docs/metrics.md`.
    pub const ALL: [Self; 20] = [
        NOTIFICATIONS_WAITING,
        NOTIFICATIONS_IN_FLIGHT,
        MAILBOXES,
        PENDING_BYTES,
        NOTIFICATIONS_ENDED,
        NOTIFICATION_WAIT,
        DELIVERY_PANICS,
        PRESENCE_CHECKS,
        CONNECTIONS,
        FRAMES_QUEUED,
        CONNECTIONS_ENDED,
        HANDLER_EVENTS,
        HANDLER_QUEUE,
        HANDLER_BACKPRESSURE,
        WEBHOOK_LOST,
        OUTBOX_WAITING,
        OUTBOX_OLDEST,
        OUTBOX_ROWS,
        INBOX_REMOVED,
        TLS_CERTIFICATE_EXPIRES,
    ];
}
