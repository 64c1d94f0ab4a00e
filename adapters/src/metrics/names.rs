//! Every metric of a node: its name, labels and help text. `docs/metrics.md` lists the same.

use super::read::MetricKind;

/// One metric, as `/metrics` describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricDescription {
    /// The name, which begins with `doorstep_`, or with `process_` as in every Prometheus client.
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

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricDescription {
    MetricDescription { name, kind: MetricKind::Histogram, labels, help }
}

pub(super) const READY: MetricDescription = gauge(
    "doorstep_ready",
    &[],
    "Whether the node is ready: 1, or 0 if its store does not answer or takes no writes, or it is stopping.",
);

pub(super) const BUILD_INFO: MetricDescription = gauge(
    "doorstep_build_info",
    &["version", "arch", "os"],
    "Always 1; the labels say what is running.",
);

pub(super) const NOTIFICATIONS_WAITING: MetricDescription = gauge(
    "doorstep_notifications_waiting",
    &["kind"],
    "Notifications in memory that wait for their user, by kind; without items of the inbox.",
);

pub(super) const OLDEST_WAITING: MetricDescription = gauge(
    "doorstep_notifications_oldest_waiting_seconds",
    &["kind"],
    "Age of the oldest waiting notification, by kind: at least this, and at most 1 s or 3 % of its TTL more.",
);

pub(super) const NOTIFICATIONS_IN_FLIGHT: MetricDescription = gauge(
    "doorstep_notifications_in_flight",
    &[],
    "Notifications that were pushed and are not acknowledged yet.",
);

pub(super) const MAILBOXES: MetricDescription =
    gauge("doorstep_mailboxes", &[], "Users with at least one waiting notification.");

pub(super) const TIMER_LAG: MetricDescription = gauge(
    "doorstep_timer_lag_seconds",
    &[],
    "How long the next timer of delivery (the end of a TTL, or a repeat) is overdue.",
);

pub(super) const PENDING: MetricDescription = gauge(
    "doorstep_pending_notifications",
    &[],
    "Notifications that count against `max_pending`: waiting, in flight, or on their way to the inbox.",
);

pub(super) const PENDING_LIMIT: MetricDescription =
    gauge("doorstep_pending_notifications_limit", &[], "The setting `max_pending`.");

pub(super) const PENDING_BYTES: MetricDescription = gauge(
    "doorstep_pending_bytes",
    &[],
    "Payload bytes of the notifications that count against `max_pending_bytes`.",
);

pub(super) const PENDING_BYTES_LIMIT: MetricDescription =
    gauge("doorstep_pending_limit_bytes", &[], "The setting `max_pending_bytes`.");

pub(super) const NOTIFICATIONS_ACCEPTED: MetricDescription = counter(
    "doorstep_notifications_accepted_total",
    &[],
    "Notifications that this node has accepted.",
);

pub(super) const NOTIFICATIONS_ENDED: MetricDescription = counter(
    "doorstep_notifications_ended_total",
    &["outcome", "kind"],
    "Notifications that have ended, by outcome and kind.",
);

pub(super) const NOTIFICATION_WAIT: MetricDescription = histogram(
    "doorstep_notification_wait_seconds",
    &["outcome"],
    "Time from a notification's creation to its end, by outcome.",
);

pub(super) const NOTIFICATIONS_REFUSED: MetricDescription = counter(
    "doorstep_notifications_refused_total",
    &["reason"],
    "Notifications that were not accepted, by reason.",
);

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

pub(super) const PUSHES: MetricDescription = histogram(
    "doorstep_push_seconds",
    &["transport"],
    "Time from a push to the moment at which a connection's socket has taken the frame.",
);

pub(super) const CONNECTIONS_REFUSED: MetricDescription = counter(
    "doorstep_connections_refused_total",
    &["reason"],
    "Connections that were refused because of a limit or a stop, by reason.",
);

pub(super) const CONNECTIONS_ENDED: MetricDescription = counter(
    "doorstep_connections_ended_total",
    &["reason"],
    "Connections that have ended, by reason.",
);

pub(super) const HTTP_RESPONSES: MetricDescription =
    counter("doorstep_http_responses_total", &["code"], "Responses, by status code.");

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

pub(super) const STORE_OPERATIONS: MetricDescription = histogram(
    "doorstep_store_operation_seconds",
    &["operation"],
    "How long operations of the store took that were done.",
);

pub(super) const STORE_FAILURES: MetricDescription = counter(
    "doorstep_store_failures_total",
    &["operation"],
    "Operations of the store that were not done because it did not answer or could not write.",
);

pub(super) const STORE_CONNECTIONS: MetricDescription = gauge(
    "doorstep_store_connections",
    &["pool", "state"],
    "Open connections to the database, by pool and state.",
);

pub(super) const STORE_CONNECTIONS_LIMIT: MetricDescription =
    gauge("doorstep_store_connections_limit", &["pool"], "The most connections that a pool opens.");

pub(super) const WEBHOOK_WAITING: MetricDescription = gauge(
    "doorstep_webhook_outcomes_waiting",
    &[],
    "Outcomes that the webhook's receiver has not taken yet.",
);

pub(super) const WEBHOOK_OLDEST: MetricDescription = gauge(
    "doorstep_webhook_oldest_seconds",
    &[],
    "How long ago the oldest outcome happened that the webhook's receiver has not taken yet.",
);

pub(super) const WEBHOOK_LOST: MetricDescription = counter(
    "doorstep_webhook_lost_total",
    &[],
    "Outcomes that were lost before the webhook's receiver took them.",
);

pub(super) const WEBHOOK_REQUESTS: MetricDescription = counter(
    "doorstep_webhook_requests_total",
    &["result"],
    "Requests to the webhook's receiver, by result; each repeat counts.",
);

pub(super) const WEBHOOK_TIMES: MetricDescription = histogram(
    "doorstep_webhook_request_seconds",
    &[],
    "How long requests to the webhook's receiver took, failed ones included.",
);

pub(super) const OUTBOX_CONSUMING: MetricDescription = gauge(
    "doorstep_outbox_consuming",
    &[],
    "Whether this node consumes the outbox: one node does, with the value 1.",
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

pub(super) const OUTBOX_REJECTED: MetricDescription = counter(
    "doorstep_outbox_rejected_total",
    &[],
    "Rows of the outbox that this node has put aside, because they are no notification or their user's mailbox was full.",
);

pub(super) const CLUSTER_UP_TO_DATE: MetricDescription = gauge(
    "doorstep_cluster_up_to_date",
    &[],
    "Whether this node has read the whole log of its cluster and reads on: 1, or 0 if it catches up or is cut off.",
);

pub(super) const CLUSTER_LAG: MetricDescription = gauge(
    "doorstep_cluster_lag_entries",
    &[],
    "Entries of the log that this node had still to read when it got the last one.",
);

pub(super) const CLUSTER_CATCH_UP: MetricDescription = gauge(
    "doorstep_cluster_catch_up_seconds",
    &[],
    "How long it took this node to read everything when it last had to: at its start, or after it was cut off.",
);

pub(super) const CLUSTER_ENTRIES: MetricDescription = counter(
    "doorstep_cluster_entries_read_total",
    &[],
    "Entries of the log that this node has read.",
);

pub(super) const CLUSTER_SKIPPED: MetricDescription = counter(
    "doorstep_cluster_entries_skipped_total",
    &["reason"],
    "Entries of the log that said nothing to this node, by reason.",
);

pub(super) const CLUSTER_APPENDS: MetricDescription = counter(
    "doorstep_cluster_appends_total",
    &["result"],
    "Attempts of this node to append an entry, by result.",
);

pub(super) const CLUSTER_APPEND_TIMES: MetricDescription =
    histogram("doorstep_cluster_append_seconds", &[], "How long appends took that NATS answered.");

pub(super) const CLUSTER_ENDS: MetricDescription = counter(
    "doorstep_cluster_ends_total",
    &["by"],
    "Ends of notifications that this node has read, by whose they are.",
);

pub(super) const CLUSTER_OPEN: MetricDescription = gauge(
    "doorstep_cluster_open_notifications",
    &[],
    "Notifications of the whole cluster that have not ended, as this node knows it.",
);

pub(super) const CLUSTER_PROPOSED: MetricDescription = gauge(
    "doorstep_cluster_proposed_ends",
    &[],
    "Ends that this node has proposed and not read yet.",
);

pub(super) const TLS_CERTIFICATE_EXPIRES: MetricDescription = gauge(
    "doorstep_tls_certificate_expires_seconds",
    &[],
    "How long the certificate in use is still valid; negative after its end.",
);

pub(super) const PROCESS_CPU: MetricDescription = counter(
    "process_cpu_seconds_total",
    &[],
    "CPU time of the process, of programs and of the kernel for it.",
);

pub(super) const PROCESS_RESIDENT: MetricDescription =
    gauge("process_resident_memory_bytes", &[], "Memory of the process that is in RAM.");

pub(super) const PROCESS_VIRTUAL: MetricDescription =
    gauge("process_virtual_memory_bytes", &[], "Address space of the process.");

pub(super) const PROCESS_OPEN_FDS: MetricDescription =
    gauge("process_open_fds", &[], "Open files and sockets of the process.");

pub(super) const PROCESS_MAX_FDS: MetricDescription =
    gauge("process_max_fds", &[], "The most open files and sockets that the process may have.");

pub(super) const PROCESS_START: MetricDescription = gauge(
    "process_start_time_seconds",
    &[],
    "When the process started, in seconds since the Unix epoch.",
);

impl MetricDescription {
    /// Every metric, in the order of `docs/metrics.md`.
    pub const ALL: [Self; 58] = [
        READY,
        BUILD_INFO,
        NOTIFICATIONS_WAITING,
        OLDEST_WAITING,
        NOTIFICATIONS_IN_FLIGHT,
        MAILBOXES,
        TIMER_LAG,
        PENDING,
        PENDING_LIMIT,
        PENDING_BYTES,
        PENDING_BYTES_LIMIT,
        NOTIFICATIONS_ACCEPTED,
        NOTIFICATIONS_ENDED,
        NOTIFICATION_WAIT,
        NOTIFICATIONS_REFUSED,
        DELIVERY_PANICS,
        PRESENCE_CHECKS,
        CONNECTIONS,
        FRAMES_QUEUED,
        PUSHES,
        CONNECTIONS_REFUSED,
        CONNECTIONS_ENDED,
        HTTP_RESPONSES,
        HANDLER_EVENTS,
        HANDLER_QUEUE,
        HANDLER_BACKPRESSURE,
        STORE_OPERATIONS,
        STORE_FAILURES,
        STORE_CONNECTIONS,
        STORE_CONNECTIONS_LIMIT,
        WEBHOOK_WAITING,
        WEBHOOK_OLDEST,
        WEBHOOK_LOST,
        WEBHOOK_REQUESTS,
        WEBHOOK_TIMES,
        OUTBOX_CONSUMING,
        OUTBOX_WAITING,
        OUTBOX_OLDEST,
        OUTBOX_ROWS,
        OUTBOX_REJECTED,
        INBOX_REMOVED,
        CLUSTER_UP_TO_DATE,
        CLUSTER_LAG,
        CLUSTER_CATCH_UP,
        CLUSTER_ENTRIES,
        CLUSTER_SKIPPED,
        CLUSTER_APPENDS,
        CLUSTER_APPEND_TIMES,
        CLUSTER_ENDS,
        CLUSTER_OPEN,
        CLUSTER_PROPOSED,
        TLS_CERTIFICATE_EXPIRES,
        PROCESS_CPU,
        PROCESS_RESIDENT,
        PROCESS_VIRTUAL,
        PROCESS_OPEN_FDS,
        PROCESS_MAX_FDS,
        PROCESS_START,
    ];
}
