use std::sync::Arc;

use doorstep_domain::ports::Clock;
use doorstep_domain::{Notification, NotificationId, Outcome};
use tokio::sync::Notify;

use super::proposals::Proposals;
use crate::cluster::NodeId;
use crate::delivery::sync::Mutex;

/// How a notification ends in a cluster: this node proposes, and what is read back from the log decides.
///
/// It may be called under the lock of a mailroom, and takes no other lock.
pub(in crate::delivery) struct Decisions {
    pub(super) proposals: Mutex<Proposals>,
    /// Rings when a proposal may be due earlier than the proposing task knows.
    pub(super) bell: Notify,
    clock: Arc<dyn Clock>,
}

impl Decisions {
    pub(in crate::delivery) fn new(me: NodeId, clock: Arc<dyn Clock>) -> Self {
        Self { proposals: Mutex::new(Proposals::new(me)), bell: Notify::new(), clock }
    }

    /// Proposes an end.
    pub(in crate::delivery) fn propose(&self, n: &Notification, outcome: Outcome) {
        self.proposals.lock().propose(n, outcome, self.clock.now());
        self.bell.notify_one();
    }

    /// Proposes an end that another node proposes at once.
    pub(super) fn propose_later(&self, n: &Notification, outcome: Outcome) {
        self.proposals.lock().propose_later(n, outcome, self.clock.now());
        self.bell.notify_one();
    }

    /// Proposes that it goes to the inbox.
    pub(in crate::delivery) fn promote(&self, n: Notification) {
        self.proposals.lock().propose_promotion(n, self.clock.now());
        self.bell.notify_one();
    }

    /// Whether this node has proposed an end of it that is not read back yet.
    pub(in crate::delivery) fn has_proposed(&self, id: NotificationId) -> bool {
        self.proposals.lock().has_proposed(id)
    }
}
