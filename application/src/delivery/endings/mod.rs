//! The one place where a notification ends: it updates the receipt and the counter, writes the log line, and
//! tells the observers.

mod observer;
mod receipt;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use doorstep_domain::ports::{Chronicle, Clock, Outcomes};
use doorstep_domain::{
    Ended, Kind, Notification, NotificationId, Outcome, Step, Timestamp, TraceParent, UserId,
};

use super::capacity::Capacity;
use super::cluster::Decisions;
use super::tasks::Tasks;

use self::observer::Observer;
use self::receipt::Receipts;
pub use self::receipt::{Acceptance, Receipt};

/// What ends.
#[derive(Clone)]
pub(super) struct Ending {
    pub(super) id: NotificationId,
    pub(super) user_id: UserId,
    pub(super) kind: Kind,
    pub(super) created_at: Timestamp,
    pub(super) trace: Option<TraceParent>,
}

impl Ending {
    pub(super) fn of(n: &Notification) -> Self {
        let (id, user_id, kind) = (n.id, n.user_id.clone(), n.kind.clone());
        Self { id, user_id, kind, created_at: n.created_at, trace: n.trace }
    }
}

/// Reports every end.
pub(super) struct Endings {
    pub(super) receipts: Arc<Receipts>,
    counters: [AtomicU64; Outcome::ALL.len()],
    observers: Vec<Arc<Observer>>,
    /// They are told of every end that this node sees.
    witnesses: Vec<Arc<Observer>>,
    /// Decides together with other nodes; `None` on a node alone.
    decisions: Option<Arc<Decisions>>,
    /// Is told each step, if somebody wants to know.
    chronicle: Option<Arc<dyn Chronicle>>,
    clock: Arc<dyn Clock>,
}

impl Endings {
    pub(super) fn new(
        observers: Vec<Arc<dyn Outcomes>>,
        witnesses: Vec<Arc<dyn Outcomes>>,
        decisions: Option<Arc<Decisions>>,
        chronicle: Option<Arc<dyn Chronicle>>,
        clock: Arc<dyn Clock>,
        tasks: &Arc<Tasks>,
        capacity: &Arc<Capacity>,
    ) -> Self {
        let observer = |outcomes| Observer::new(outcomes, tasks.clone(), capacity.clone());
        let observers = observers.into_iter().map(observer).collect();
        let witnesses = witnesses.into_iter().map(observer).collect();
        let (receipts, counters) = (Receipts::new(), Default::default());
        Self { receipts, counters, observers, witnesses, decisions, chronicle, clock }
    }

    /// Ends a notification whose times are on delivery's timeline. [`tell`](Self::tell) tells the observers.
    ///
    /// In a cluster this only proposes the end, and returns `None`: who wins is read from the log.
    pub(super) fn end(&self, n: &Notification, outcome: Outcome) -> Option<Ended> {
        if let Some(decisions) = &self.decisions {
            decisions.propose(n, outcome);
            return None;
        }
        Some(self.end_here(n, outcome))
    }

    /// Ends what only this node knows: what was not accepted, and items of the inbox.
    pub(super) fn end_here(&self, n: &Notification, outcome: Outcome) -> Ended {
        self.decided(Ending::of(n), outcome, true)
    }

    /// It has ended like this. `ours`: this node tells it; otherwise another node does, and this one only learns it.
    pub(super) fn decided(&self, ending: Ending, outcome: Outcome, ours: bool) -> Ended {
        let Ending { id, user_id, kind, created_at, trace } = ending;
        let now = self.clock.now();
        let (waited, at) = (now.since(created_at), self.clock.wall_of(now));
        // A refusal was noted with its reason.
        if outcome != Outcome::Rejected {
            self.note(&user_id, id, || Step::Ended { outcome, here: ours });
        }
        self.receipts.settle(id, outcome);
        if ours {
            self.counters[outcome as usize].fetch_add(1, Relaxed);
            tracing::info!(
                notification = %id,
                user = %user_id,
                kind = %kind,
                outcome = outcome.as_str(),
                waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                trace_id = trace.map(|trace| tracing::field::display(trace.trace_id())),
                "notification ended"
            );
        }
        Ended { id, user_id, kind, outcome, at, waited, trace }
    }

    /// What is told each step, if somebody wants to know.
    pub(super) fn chronicle(&self) -> Option<&dyn Chronicle> {
        self.chronicle.as_deref()
    }

    /// Notes a step of a notification's story. Costs nothing if nobody wants to know.
    pub(super) fn note(&self, user: &UserId, id: NotificationId, step: impl FnOnce() -> Step) {
        if let Some(chronicle) = &self.chronicle {
            chronicle.note(user, id, step());
        }
    }

    /// Tells every observer; waits for none of them.
    pub(super) fn tell(&self, ended: Vec<Ended>) {
        tell_all(self.observers.iter().chain(&self.witnesses), ended);
    }

    /// Tells those who want to know of ends that other nodes tell, too.
    pub(super) fn learn(&self, ended: Vec<Ended>) {
        tell_all(self.witnesses.iter(), ended);
    }

    /// How ends are decided together with other nodes; `None` on a node alone.
    pub(super) fn decisions(&self) -> Option<&Arc<Decisions>> {
        self.decisions.as_ref()
    }

    /// Whether an observer has not been told of every end yet.
    pub(super) fn is_behind(&self) -> bool {
        self.observers.iter().chain(&self.witnesses).any(|observer| observer.is_behind())
    }

    /// Whether there is an observer.
    pub(super) fn has_observers(&self) -> bool {
        !self.observers.is_empty() || !self.witnesses.is_empty()
    }

    /// How many notifications have ended with this outcome.
    pub(super) fn count(&self, outcome: Outcome) -> u64 {
        self.counters[outcome as usize].load(Relaxed)
    }
}

fn tell_all<'a>(mut observers: impl Iterator<Item = &'a Arc<Observer>>, ended: Vec<Ended>) {
    if ended.is_empty() {
        return;
    }
    let Some(mut next) = observers.next() else { return };
    for another in observers {
        std::mem::replace(&mut next, another).tell(ended.clone());
    }
    next.tell(ended);
}
