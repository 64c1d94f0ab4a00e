use std::sync::atomic::{AtomicU64, Ordering};

/// The statistics of one handler since the start, for `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerStats {
    /// The handler's name.
    pub name: &'static str,
    /// Events handled without an error.
    pub handled: u64,
    /// Events on which it returned an error.
    pub failed: u64,
    /// Events on which it panicked.
    pub panicked: u64,
    /// Publishes that had to wait because this handler's queue was full.
    pub backpressure_waits: u64,
    /// Events in its queue now, without those that it has taken out.
    pub queued: usize,
}

/// Counters only: no decision depends on them, so relaxed ordering is enough.
#[derive(Default)]
pub(super) struct Counters {
    handled: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
    backpressure_waits: AtomicU64,
}

impl Counters {
    pub(super) fn handled(&self) {
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn panicked(&self) {
        self.panicked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn publisher_waited(&self) {
        self.backpressure_waits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, name: &'static str, queued: usize) -> HandlerStats {
        HandlerStats {
            name,
            handled: self.handled.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            panicked: self.panicked.load(Ordering::Relaxed),
            backpressure_waits: self.backpressure_waits.load(Ordering::Relaxed),
            queued,
        }
    }
}
