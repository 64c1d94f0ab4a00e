use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use doorstep_domain::Kind;

use super::policy::{Limits, Rules};

/// How much this node holds, and whether it takes more. **Every notification that the node holds is counted
/// here once**, under either strategy, and once more for its kind if the kind has its own limits.
pub(super) struct Capacity {
    node: Count,
    kinds: HashMap<Kind, Count>,
}

/// Notifications and bytes of payload, counted against limits.
struct Count {
    pending: AtomicUsize,
    bytes: AtomicUsize,
    max_pending: usize,
    max_bytes: usize,
}

impl Capacity {
    pub(super) fn new(limits: &Limits, rules: &Rules) -> Self {
        let own = |(kind, rule): (&Kind, &super::Rule)| {
            let limited = rule.max_pending.min(rule.max_pending_bytes) < usize::MAX;
            let count = Count::up_to(rule.max_pending, rule.max_pending_bytes);
            limited.then(|| (kind.clone(), count))
        };
        Self {
            node: Count::up_to(limits.max_pending, limits.max_pending_bytes),
            kinds: rules.kinds.iter().filter_map(own).collect(),
        }
    }

    /// Counts one more notification of this kind, with this many bytes, if the limits allow it.
    pub(super) fn enter(&self, kind: &Kind, bytes: usize) -> bool {
        if !self.node.enter(bytes) {
            return false;
        }
        let fits = self.kinds.get(kind).is_none_or(|own| own.enter(bytes));
        if !fits {
            self.node.leave(1, bytes);
        }
        fits
    }

    /// Whether [`enter`](Self::enter) would succeed now.
    pub(super) fn has_room(&self, kind: &Kind, bytes: usize) -> bool {
        self.node.has_room(bytes) && self.kinds.get(kind).is_none_or(|own| own.has_room(bytes))
    }

    /// Counts one more notification of this kind, whatever the limits are.
    pub(super) fn force_one(&self, kind: &Kind, bytes: usize) {
        self.force(1, bytes);
        if let Some(own) = self.kinds.get(kind) {
            own.pending.fetch_add(1, Relaxed);
            own.bytes.fetch_add(bytes, Relaxed);
        }
    }

    /// Undoes one [`enter`](Self::enter).
    pub(super) fn leave(&self, kind: &Kind, bytes: usize) {
        self.node.leave(1, bytes);
        self.leave_kind(kind, bytes);
    }

    /// Undoes only the kind's part of [`enter`](Self::enter).
    pub(super) fn leave_kind(&self, kind: &Kind, bytes: usize) {
        if let Some(own) = self.kinds.get(kind) {
            own.leave(1, bytes);
        }
    }

    /// Whether the kind has limits of its own.
    pub(super) fn has_own_limits(&self, kind: &Kind) -> bool {
        self.kinds.contains_key(kind)
    }

    /// Counts this many more on the node, even above its limits: items of the inbox are always loaded for a user
    /// who is online.
    pub(super) fn force(&self, count: usize, bytes: usize) {
        self.node.pending.fetch_add(count, Relaxed);
        self.node.bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts this many fewer on the node.
    pub(super) fn release(&self, count: usize, bytes: usize) {
        self.node.leave(count, bytes);
    }

    /// The most notifications that the node holds.
    pub(super) fn max_pending(&self) -> usize {
        self.node.max_pending
    }

    /// How many more notifications the node takes; 0 if the limit of bytes is reached.
    pub(super) fn free(&self) -> usize {
        if self.node.bytes.load(Relaxed) >= self.node.max_bytes {
            return 0;
        }
        self.node.max_pending.saturating_sub(self.node.pending.load(Relaxed))
    }

    /// The current counts: notifications, and bytes of payload.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.node.pending.load(Relaxed), self.node.bytes.load(Relaxed))
    }
}

impl Count {
    fn up_to(max_pending: usize, max_bytes: usize) -> Self {
        Self { pending: AtomicUsize::new(0), bytes: AtomicUsize::new(0), max_pending, max_bytes }
    }

    fn enter(&self, bytes: usize) -> bool {
        // Add first, then check: two that race for the last place may both be refused, but never both enter.
        let pending = self.pending.fetch_add(1, Relaxed);
        let before = self.bytes.fetch_add(bytes, Relaxed);
        let fits = pending < self.max_pending && before.saturating_add(bytes) <= self.max_bytes;
        if !fits {
            self.leave(1, bytes);
        }
        fits
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.pending.load(Relaxed) < self.max_pending
            && self.bytes.load(Relaxed).saturating_add(bytes) <= self.max_bytes
    }

    fn leave(&self, count: usize, bytes: usize) {
        self.pending.fetch_sub(count, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Rule;

    fn capacity(max_pending: usize, max_pending_bytes: usize) -> Capacity {
        let limits = Limits { max_pending, max_pending_bytes, ..Limits::default() };
        let rare = Rule { max_pending: 1, ..Rule::default() };
        let light = Rule { max_pending_bytes: 2, ..Rule::default() };
        let kinds = [("rare".parse().unwrap(), rare), ("light".parse().unwrap(), light)];
        Capacity::new(&limits, &Rules { kinds: kinds.into(), ..Rules::default() })
    }

    fn kind(name: &str) -> Kind {
        name.parse().unwrap()
    }

    #[test]
    fn counts_and_bytes_each_close_it_and_leaving_opens_it() {
        let any = kind("any");
        let by_count = capacity(2, 1000);
        assert!(by_count.enter(&any, 1) && by_count.enter(&any, 1) && !by_count.enter(&any, 1));
        by_count.leave(&any, 1);
        assert!(by_count.enter(&any, 1));
        let by_bytes = capacity(1000, 10);
        assert!(by_bytes.enter(&any, 6) && !by_bytes.enter(&any, 5) && by_bytes.enter(&any, 4));
        assert_eq!(by_bytes.load(), (2, 10));
    }

    #[test]
    fn a_kind_that_is_full_takes_no_room_from_the_others() {
        let (rare, light) = (kind("rare"), kind("light"));
        let capacity = capacity(10, 1000);
        assert!(capacity.enter(&rare, 1) && !capacity.enter(&rare, 1));
        assert!(capacity.enter(&light, 2) && !capacity.enter(&light, 1));
        assert!(capacity.enter(&kind("any"), 1));
        assert_eq!(capacity.load(), (3, 4));
        capacity.leave(&rare, 1);
        assert!(capacity.enter(&rare, 1));
        assert!(capacity.has_own_limits(&rare) && !capacity.has_own_limits(&kind("any")));
    }
}
