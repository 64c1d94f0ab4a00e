use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::policy::Limits;

/// How much this node holds, and whether it takes more. Every notification that is held is counted here
/// once, whichever strategy holds it.
pub(super) struct Gate {
    pending: AtomicUsize,
    bytes: AtomicUsize,
    max_pending: usize,
    max_bytes: usize,
}

impl Gate {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            pending: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            max_pending: limits.max_pending,
            max_bytes: limits.max_pending_bytes,
        }
    }

    /// Counts one more of so many bytes, if the limits allow it.
    pub(super) fn enter(&self, bytes: usize) -> bool {
        // Add first, look after: two that race for the last place may both be refused, but never both enter.
        let pending = self.pending.fetch_add(1, Relaxed);
        let before = self.bytes.fetch_add(bytes, Relaxed);
        let fits = pending < self.max_pending && before.saturating_add(bytes) <= self.max_bytes;
        if !fits {
            self.leave(1, bytes);
        }
        fits
    }

    /// Counts so many more, limits or not: what is in the inbox may always be shown to who is there.
    pub(super) fn force(&self, count: usize, bytes: usize) {
        self.pending.fetch_add(count, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts so many less.
    pub(super) fn leave(&self, count: usize, bytes: usize) {
        self.pending.fetch_sub(count, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// How many more would still be taken, bytes permitting.
    pub(super) fn room(&self) -> usize {
        if self.bytes.load(Relaxed) >= self.max_bytes {
            return 0;
        }
        self.max_pending.saturating_sub(self.pending.load(Relaxed))
    }

    /// What is counted now: notifications, and bytes of payload.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.pending.load(Relaxed), self.bytes.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(max_pending: usize, max_pending_bytes: usize) -> Gate {
        Gate::new(&Limits { max_pending, max_pending_bytes, ..Limits::default() })
    }

    #[test]
    fn counts_and_bytes_each_close_it_and_leaving_opens_it() {
        let by_count = gate(2, 1000);
        assert!(by_count.enter(1) && by_count.enter(1) && !by_count.enter(1));
        by_count.leave(1, 1);
        assert!(by_count.enter(1));
        let by_bytes = gate(1000, 10);
        assert!(by_bytes.enter(6) && !by_bytes.enter(5) && by_bytes.enter(4));
        assert_eq!(by_bytes.load(), (2, 10));
    }
}
