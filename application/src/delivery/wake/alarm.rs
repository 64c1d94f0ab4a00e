use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use doorstep_domain::Timestamp;
use tokio::sync::Notify;

/// Wakes the timer task early when an entry becomes due before the current wake-up time.
///
/// While nothing waits, the wake-up time is never, and nothing wakes.
pub(super) struct Alarm {
    set_for: AtomicI64,
    bell: Notify,
}

impl Alarm {
    pub(super) fn new() -> Self {
        Self { set_for: AtomicI64::new(i64::MAX), bell: Notify::new() }
    }

    /// An entry becomes due at this time: rings if that is earlier than the time that is set.
    pub(super) fn due_at(&self, due: Timestamp) {
        if due.as_micros() < self.set_for.load(SeqCst) {
            self.bell.notify_one();
        }
    }

    /// Call before scanning for the next due time: until `set`, every accept rings, so none is missed during
    /// the scan.
    pub(super) fn unset(&self) {
        self.set_for.store(i64::MAX, SeqCst);
    }

    /// Call after the scan, with its result.
    pub(super) fn set(&self, due: Timestamp) {
        self.set_for.store(due.as_micros(), SeqCst);
    }

    /// Waits until an entry becomes due earlier than the time that is set.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }
}
