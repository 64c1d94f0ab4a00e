use std::sync::Arc;

use doorstep_domain::ports::{LogUnavailable, RetractReason, StoreError};
use doorstep_domain::{LogKey, Notification, NotificationId, Outcome, Topic, UserId};

use super::{Cluster, PATIENCE};
use crate::cluster::ClusterEntry;
use crate::delivery::endings::Receipt;

/// What a recall found in the log.
pub(in crate::delivery) enum InLog {
    /// It has ended like this: by this recall, or before.
    Ended(Outcome),
    /// The log has nothing of it.
    Nothing,
}

impl Cluster {
    /// Takes back one notification, whichever node accepted it. Waits for the log.
    pub(in crate::delivery) async fn recall(
        self: &Arc<Self>,
        id: NotificationId,
    ) -> Result<InLog, StoreError> {
        if !self.is_open(id) {
            // Another node may have accepted it a moment ago.
            self.barrier().await.map_err(away)?;
        }
        let key = LogKey::Notification(id);
        loop {
            let mut seen = self.watch(key);
            let receipt = self.cx.endings.receipts.open(id);
            if self.is_open(id) {
                self.take_back(id);
                return Ok(InLog::Ended(end_of(receipt).await?));
            }
            let Some(entry) = self.log.get(key).await.map_err(away)? else {
                return Ok(InLog::Nothing);
            };
            match ClusterEntry::decode(key, &entry.bytes) {
                Ok(ClusterEntry::Ended { outcome: Some(outcome), .. }) => {
                    return Ok(InLog::Ended(outcome));
                }
                // A promotion has taken the place of what the barrier would have proved to be read.
                Ok(ClusterEntry::Accepted { .. } | ClusterEntry::Promoting { .. }) => {
                    if !seen.for_at_most(PATIENCE).await {
                        return Err(away(LogUnavailable("what is open has not come by".into())));
                    }
                }
                _ => return Ok(InLog::Nothing),
            }
        }
    }

    /// Takes it out of its mailbox, and proposes that it is recalled.
    fn take_back(self: &Arc<Self>, id: NotificationId) {
        let Some(taken) = self.wake.rooms.first(|room| room.recall(id)) else { return };
        self.decisions.propose(&taken.notification, Outcome::Recalled);
        if taken.in_hand {
            let user = &taken.notification.user_id;
            self.wake.flush_later(user);
            self.retract_here(user, id, RetractReason::Recalled);
        }
    }

    /// Takes back everything of this user that has not ended, or everything of one topic. Returns how many.
    pub(in crate::delivery) async fn recall_all(
        self: &Arc<Self>,
        user: &UserId,
        topic: Option<&Topic>,
    ) -> Result<usize, StoreError> {
        self.barrier().await.map_err(away)?;
        // What is on its way to the inbox is removed there, once it is there; and an earlier call may have given up.
        let on_the_way = self.decisions.proposals.lock().on_the_way(user, topic);
        let of_them =
            |n: &Notification| n.user_id == *user && (topic.is_none() || n.topic.as_ref() == topic);
        let on_the_way = on_the_way.into_iter().chain(self.wake.promoting(of_them));
        let mut receipts: Vec<_> = on_the_way.map(|id| self.cx.endings.receipts.open(id)).collect();
        let taken = self.wake.rooms.with(user, |room| room.recall_all(user, topic));
        let mut flush = false;
        for taken in &taken {
            receipts.push(self.cx.endings.receipts.open(taken.notification.id));
            self.decisions.propose(&taken.notification, Outcome::Recalled);
            if taken.in_hand {
                flush = true;
                self.retract_here(user, taken.notification.id, RetractReason::Recalled);
            }
        }
        if flush {
            self.wake.flush_later(user);
        }
        let mut recalled = 0;
        for receipt in receipts {
            recalled += usize::from(end_of(receipt).await? == Outcome::Recalled);
        }
        Ok(recalled)
    }
}

/// Waits for the end to be read.
async fn end_of(receipt: Receipt) -> Result<Outcome, StoreError> {
    let unknown = || away(LogUnavailable("its end has not been read in time".into()));
    match tokio::time::timeout(PATIENCE, receipt.outcome()).await {
        Ok(Some(outcome)) => Ok(outcome),
        Ok(None) | Err(_) => Err(unknown()),
    }
}

pub(super) fn away(why: LogUnavailable) -> StoreError {
    StoreError::Unavailable(Box::new(why))
}
