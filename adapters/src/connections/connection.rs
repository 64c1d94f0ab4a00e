use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use doorstep_domain::{ConnectionRef, TokenHash};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::outbox::Outbox;
use super::{ConnectionSettings, DisconnectReason, Pace, Transport};

/// What the registry knows about one connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Unique on this node, for logs.
    pub(crate) id: u64,
    pub(crate) transport: Transport,
    pub(crate) session: TokenHash,
    pub(crate) address: IpAddr,
    pub(crate) outbox: Outbox,
    pub(crate) pace: Pace,
    pub(super) since: Instant,
    pub(super) frames: AtomicU64,
    closing: OnceLock<DisconnectReason>,
    closed: Notify,
}

impl Connection {
    pub(super) fn new(
        id: u64,
        transport: Transport,
        session: TokenHash,
        address: IpAddr,
        pace: Pace,
        settings: &ConnectionSettings,
    ) -> Self {
        Self {
            id,
            transport,
            session,
            address,
            outbox: Outbox::new(settings.outbox_frames),
            pace,
            since: Instant::now(),
            frames: AtomicU64::new(0),
            closing: OnceLock::new(),
            closed: Notify::new(),
        }
    }

    /// Its name in stories.
    pub(super) fn reference(&self) -> ConnectionRef {
        ConnectionRef { id: self.id, transport: self.transport.as_str() }
    }

    /// Whether it still takes frames.
    pub(super) fn is_open(&self) -> bool {
        self.closing.get().is_none()
    }

    /// Whether its socket has taken a byte within this time, or has nothing to write.
    pub(super) fn reads_within(&self, time: Duration) -> bool {
        self.pace.blocked_for() < time
    }

    /// Asks its transport to close it. The first reason counts.
    pub(crate) fn close(&self, reason: DisconnectReason) {
        if self.closing.set(reason).is_ok() {
            self.closed.notify_waiters();
        }
    }

    /// The reason to close it, once there is one.
    pub(super) fn closing(&self) -> Option<DisconnectReason> {
        self.closing.get().copied()
    }

    /// Waits until it must be closed, and returns the reason.
    pub(crate) async fn closed(&self) -> DisconnectReason {
        loop {
            // Enabled before the check, so that no close between the check and the wait is missed.
            let mut closed = std::pin::pin!(self.closed.notified());
            closed.as_mut().enable();
            if let Some(reason) = self.closing.get() {
                return *reason;
            }
            closed.await;
        }
    }

    pub(super) fn count_frame(&self) {
        self.frames.fetch_add(1, Relaxed);
    }
}
