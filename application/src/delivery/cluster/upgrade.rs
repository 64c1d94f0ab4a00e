//! A node that ran alone left notifications in a store. The first node of the cluster that starts appends them.

use doorstep_domain::Notification;
use doorstep_domain::ports::{Handover, StoreError};

use super::{Cluster, Standing};
use crate::delivery::Refused;
use crate::delivery::handover::{BATCH, HANDOVER};

impl Cluster {
    /// Appends what a stopped node left, with its ids and the TTL that is left. Waits until this node is up to date.
    /// Returns how many.
    pub(in crate::delivery) async fn take_up(
        &self,
        store: &dyn Handover,
    ) -> Result<usize, StoreError> {
        let mut standing = self.standing();
        // The sender is a part of this node.
        standing.wait_for(|standing| *standing == Standing::UpToDate).await.ok();
        let mut count = 0;
        loop {
            let batch = self.cx.guarded(HANDOVER, store.take(BATCH)).await?;
            let last = batch.len() < BATCH;
            let mut batch = batch.into_iter();
            while let Some(left) = batch.next() {
                let n = self.cx.taken_in(left.clone());
                match self.put_into_log(&n, false).await {
                    Ok(_) => count += 1,
                    // It can never be appended.
                    Err(Refused::TooLarge) => self.cx.reject(&n),
                    Err(why) => {
                        let rest: Vec<_> = std::iter::once(left).chain(batch).collect();
                        self.cx.guarded(HANDOVER, store.leave(&rest)).await?;
                        return Err(StoreError::Unavailable(Box::new(why)));
                    }
                }
            }
            if last {
                return Ok(count);
            }
        }
    }

    /// What this node has accepted, and no log has now.
    pub(in crate::delivery) fn orphans(&self) -> Vec<Notification> {
        self.orphans.lock().all()
    }

    /// A stopping node proposes no more than what it would propose now.
    pub(in crate::delivery) fn leave_to_others(&self) {
        let now = self.cx.clock.now();
        self.decisions.proposals.lock().leave_to_others(now);
        self.decisions.bell.notify_one();
    }
}
