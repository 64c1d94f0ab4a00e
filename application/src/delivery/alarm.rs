use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use doorstep_domain::Timestamp;
use tokio::sync::Notify;

/// Wakes the one task that ends what is due, when something becomes due sooner than it is set for.
///
/// While nothing waits it is set for never, and nobody wakes.
pub(super) struct Alarm {
    set_for: AtomicI64,
    bell: Notify,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Self { set_for: AtomicI64::new(i64::MAX), bell: Notify::new() }
    }

    /// Something is due then.
    pub(super) fn mind(&self, due: Timestamp) {
        if due.as_micros() < self.set_for.load(SeqCst) {
            self.bell.notify_one();
        }
    }

    /// Before looking for what is due next: from here on everything that is accepted rings, so that what
    /// comes while one is looking is not overlooked.
    pub(super) fn unset(&self) {
        self.set_for.store(i64::MAX, SeqCst);
    }

    /// After having looked.
    pub(super) fn set(&self, due: Timestamp) {
        self.set_for.store(due.as_micros(), SeqCst);
    }

    /// Waits until something is due sooner.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }
}
