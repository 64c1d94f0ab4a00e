use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use doorstep_domain::TokenHash;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::outbox::Outbox;
use super::{CloseReason, Pace, Settings, Transport};

/// What the registry knows of one connection.
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
    closing: OnceLock<CloseReason>,
    closed: Notify,
}

impl Connection {
    pub(super) fn new(
        id: u64,
        transport: Transport,
        session: TokenHash,
        address: IpAddr,
        pace: Pace,
        settings: &Settings,
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

    /// Whether it can still be handed frames.
    pub(super) fn is_open(&self) -> bool {
        self.closing.get().is_none()
    }

    /// Whether its socket has taken a byte within this time, or has nothing to take.
    pub(super) fn reads_within(&self, time: Duration) -> bool {
        self.pace.blocked_for() < time
    }

    /// Closes it; the first reason counts.
    pub(crate) fn close(&self, reason: CloseReason) {
        if self.closing.set(reason).is_ok() {
            self.closed.notify_waiters();
        }
    }

    /// Why it is to be closed, if it is.
    pub(super) fn closing(&self) -> Option<CloseReason> {
        self.closing.get().copied()
    }

    /// Waits until it is to be closed.
    pub(crate) async fn closed(&self) -> CloseReason {
        loop {
            // From here on it hears of a close, so none is missed between the look and the wait.
            let mut closed = std::pin::pin!(self.closed.notified());
            closed.as_mut().enable();
            if let Some(reason) = self.closing.get() {
                return *reason;
            }
            closed.await;
        }
    }

    /// Waits until its socket has taken no byte for this long although there is something to write.
    pub(crate) async fn blocked_for(&self, time: Duration) {
        loop {
            let left = time.saturating_sub(self.pace.blocked_for());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    pub(super) fn count_frame(&self) {
        self.frames.fetch_add(1, Relaxed);
    }
}
