//! The one place where a notification ends: it updates the receipt and the counter, writes the log line, and
//! tells the observers.

mod observer;
mod receipt;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use doorstep_domain::ports::{Clock, Outcomes};
use doorstep_domain::{Ended, Notification, Outcome};

use super::capacity::Capacity;
use super::tasks::Tasks;

use self::observer::Observer;
use self::receipt::Receipts;
pub use self::receipt::{Acceptance, Receipt};

/// Reports every end.
pub(super) struct Endings {
    pub(super) receipts: Arc<Receipts>,
    counters: [AtomicU64; Outcome::ALL.len()],
    observers: Vec<Arc<Observer>>,
    clock: Arc<dyn Clock>,
}

impl Endings {
    pub(super) fn new(
        observers: Vec<Arc<dyn Outcomes>>,
        clock: Arc<dyn Clock>,
        tasks: &Arc<Tasks>,
        capacity: &Arc<Capacity>,
    ) -> Self {
        let observer = |outcomes| Observer::new(outcomes, tasks.clone(), capacity.clone());
        let observers = observers.into_iter().map(observer).collect();
        Self { receipts: Receipts::new(), counters: Default::default(), observers, clock }
    }

    /// Ends a notification whose times are on delivery's timeline. [`tell`](Self::tell) tells the observers.
    pub(super) fn end(&self, n: &Notification, outcome: Outcome) -> Ended {
        let now = self.clock.now();
        let (waited, at) = (now.since(n.created_at), self.clock.wall_of(now));
        self.counters[outcome as usize].fetch_add(1, Relaxed);
        self.receipts.settle(n.id, outcome);
        tracing::info!(
            notification = %n.id,
            user = %n.user_id,
            kind = %n.kind,
            outcome = outcome.as_str(),
            waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            trace_id = n.trace.map(|trace| tracing::field::display(trace.trace_id())),
            "notification ended"
        );
        let (user_id, kind) = (n.user_id.clone(), n.kind.clone());
        Ended { id: n.id, user_id, kind, outcome, at, waited, trace: n.trace }
    }

    /// Tells every observer; waits for none of them.
    pub(super) fn tell(&self, ended: Vec<Ended>) {
        if ended.is_empty() {
            return;
        }
        let Some((last, others)) = self.observers.split_last() else { return };
        for other in others {
            other.tell(ended.clone());
        }
        last.tell(ended);
    }

    /// Whether an observer has not been told of every end yet.
    pub(super) fn is_behind(&self) -> bool {
        self.observers.iter().any(|observer| observer.is_behind())
    }

    /// Whether there is an observer.
    pub(super) fn has_observers(&self) -> bool {
        !self.observers.is_empty()
    }

    /// How many notifications have ended with this outcome.
    pub(super) fn count(&self, outcome: Outcome) -> u64 {
        self.counters[outcome as usize].load(Relaxed)
    }
}
