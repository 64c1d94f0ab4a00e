use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use doorstep_domain::ports::{Clock, Outcomes};
use doorstep_domain::{Ended, Notification, Outcome};

use super::receipt::Receipts;

/// Makes every end known: to the receipt, the counters, the log and the observers.
pub(super) struct Endings {
    pub(super) receipts: Arc<Receipts>,
    counters: [AtomicU64; Outcome::ALL.len()],
    observers: Vec<Arc<dyn Outcomes>>,
    clock: Arc<dyn Clock>,
}

impl Endings {
    pub(super) fn new(observers: Vec<Arc<dyn Outcomes>>, clock: Arc<dyn Clock>) -> Self {
        Self { receipts: Receipts::new(), counters: Default::default(), observers, clock }
    }

    /// This notification has ended. The observers are told by [`tell`](Self::tell).
    pub(super) fn end(&self, n: &Notification, outcome: Outcome) -> Ended {
        let at = self.clock.now();
        let waited = at.since(n.created_at);
        self.counters[outcome as usize].fetch_add(1, Relaxed);
        self.receipts.settle(n.id, outcome);
        tracing::info!(
            notification = %n.id,
            user = %n.user_id,
            kind = %n.kind,
            outcome = outcome.as_str(),
            waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            "notification ended"
        );
        let (user_id, kind) = (n.user_id.clone(), n.kind.clone());
        Ended { id: n.id, user_id, kind, outcome, at, waited }
    }

    /// Tells the observers, and waits as long as they make one wait.
    pub(super) async fn tell(&self, ended: Vec<Ended>) {
        if ended.is_empty() {
            return;
        }
        let Some((last, others)) = self.observers.split_last() else { return };
        for observer in others {
            observer.ended(ended.clone()).await;
        }
        last.ended(ended).await;
    }

    /// Whether anybody listens.
    pub(super) fn has_observers(&self) -> bool {
        !self.observers.is_empty()
    }

    /// How many have ended so.
    pub(super) fn count(&self, outcome: Outcome) -> u64 {
        self.counters[outcome as usize].load(Relaxed)
    }
}
