//! What a delivery holds and has done, for metrics.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use doorstep_domain::Outcome;

use super::census::WaitingOfKind;
use super::mailbox::Held;
use super::{Delivery, refusals};

/// How much of a node's limits is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Notifications that are counted against the limit: waiting, in flight, or on their way to the inbox.
    pub pending: usize,
    /// Bytes of their payloads.
    pub bytes: usize,
    /// The most notifications ([`Limits::max_pending`](super::Limits::max_pending)).
    pub max_pending: usize,
    /// The most bytes ([`Limits::max_pending_bytes`](super::Limits::max_pending_bytes)).
    pub max_bytes: usize,
}

impl Delivery {
    /// The notifications that this node holds now.
    pub fn held(&self) -> Held {
        let held = self.wake.held();
        let (_, bytes) = self.cx.capacity.load();
        Held { waiting: held.waiting + self.poll.waiting(), bytes, ..held }
    }

    /// What waits of each kind, and how old the oldest is. The cost does not depend on how many wait.
    pub fn waiting(&self) -> impl Iterator<Item = WaitingOfKind<'_>> {
        self.cx.census.each(self.cx.clock.now())
    }

    /// How long the next timer (the end of a TTL, or a repeat) is overdue; zero if none is. More than a moment means
    /// that the node does not keep up.
    pub fn overdue(&self) -> Duration {
        let next = self.wake.rooms.next_due();
        next.map_or(Duration::ZERO, |next| self.cx.clock.now().since(next))
    }

    /// How much of the node's limits is used, and the limits themselves.
    pub fn usage(&self) -> Usage {
        let ((pending, bytes), limits) = (self.cx.capacity.load(), self.cx.limits);
        let (max_pending, max_bytes) = (limits.max_pending, limits.max_pending_bytes);
        Usage { pending, bytes, max_pending, max_bytes }
    }

    /// How many notifications were accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.cx.accepted.load(Relaxed)
    }

    /// How many notifications were refused since the start, by reason (see [`Refused::as_str`](super::Refused::as_str); `invalid` for those
    /// that [`count_invalid`](Self::count_invalid) has counted).
    pub fn refused(&self) -> Vec<(&'static str, u64)> {
        self.cx.refusals.all()
    }

    /// Counts a request that was no valid notification.
    pub fn count_invalid(&self) {
        self.cx.refusals.count(refusals::INVALID);
    }

    /// How many notifications have ended with this outcome since the start.
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.cx.endings.count(outcome)
    }

    /// How many panics were caught since the start: faults in the code behind the ports.
    pub fn panics(&self) -> u64 {
        self.cx.tasks.panics()
    }

    /// How many times a user's presence was checked since the start: the cost of `poll` that `wake` avoids.
    pub fn presence_checks(&self) -> u64 {
        self.cx.presence_checks.load(Relaxed)
    }
}
