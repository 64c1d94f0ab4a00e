//! Recall: a sender takes back what it sent. Racing with an arrival, a push, an acknowledgement or the end of a TTL,
//! the notification has exactly one outcome: the first one wins.

use doorstep_domain::ports::{EnteredBy, RetractReason, StoreError};
use doorstep_domain::{Ended, Notification, NotificationId, Outcome, Topic, UserId};

use std::sync::Arc;

use super::Delivery;
use super::cluster::{Cluster, InLog};
use super::mailbox::{ItemHere, TakenBack};
use super::wake::INBOX;

/// What became of a recall of one notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recall {
    /// How it ended: [`Outcome::Recalled`], or the outcome that it had before.
    pub outcome: Outcome,
    /// False is a guarantee that no connection was ever handed it. True means that one was, or that this is not
    /// known any more.
    pub pushed: bool,
}

impl Delivery {
    /// Takes back one notification, wherever it is: waiting, in flight, left by a stopped node, or in the inbox. An
    /// item of the inbox is removed, whether it has ended or not. Returns `None` if it is nowhere.
    ///
    /// Connections that were handed it are told to take it away, as far as they can be.
    pub async fn recall(&self, id: NotificationId) -> Result<Option<Recall>, StoreError> {
        if let Some(cluster) = &self.cluster {
            return self.recall_in_cluster(cluster, id).await;
        }
        if let Some((n, pushed)) = self.take_back(id) {
            self.recalled(vec![(n, pushed)]).await;
            return Ok(Some(Recall { outcome: Outcome::Recalled, pushed }));
        }
        if let Some(recall) = self.recall_left(id).await? {
            return Ok(Some(recall));
        }
        if let Some(outcome) = self.recall_promotion(id).await? {
            return Ok(Some(Recall { outcome, pushed: true }));
        }
        self.recall_item(id).await
    }

    /// Takes back one notification that any node of the cluster may have. Which of them pushed it is not known here.
    async fn recall_in_cluster(
        &self,
        cluster: &Arc<Cluster>,
        id: NotificationId,
    ) -> Result<Option<Recall>, StoreError> {
        let InLog::Ended(outcome) = cluster.recall(id).await? else {
            return self.recall_item(id).await;
        };
        if outcome == Outcome::Promoted {
            self.recall_item(id).await?;
        }
        Ok(Some(Recall { outcome, pushed: true }))
    }

    /// Takes back what a stopped node left, or what this node is claiming of it at this moment.
    async fn recall_left(&self, id: NotificationId) -> Result<Option<Recall>, StoreError> {
        let Some(claimer) = &self.claimer else { return Ok(None) };
        let Some(still) = claimer.hold_still().await? else { return Ok(None) };
        let taken = match self.take_back(id) {
            Some(taken) => Some(taken),
            None => still.take_one(id).await?.map(|n| (self.cx.taken_in(n), true)),
        };
        drop(still);
        let Some((n, pushed)) = taken else { return Ok(None) };
        self.recalled(vec![(n, pushed)]).await;
        Ok(Some(Recall { outcome: Outcome::Recalled, pushed }))
    }

    /// Takes back what is on its way to the inbox. Returns how it ended.
    async fn recall_promotion(&self, id: NotificationId) -> Result<Option<Outcome>, StoreError> {
        let Some((n, outcome)) = self.wake.recall_promotion(id).await? else { return Ok(None) };
        let ended = self.cx.endings.end_here(&n, outcome);
        self.cx.retract(&n.user_id, id, RetractReason::Recalled).await;
        self.cx.tell(vec![ended]);
        self.wake.flush_later(&n.user_id);
        Ok(Some(outcome))
    }

    /// Takes back everything of this user that has not ended, or everything of one topic, in flight included.
    /// Returns how many that were.
    pub async fn recall_all(
        &self,
        user: &UserId,
        topic: Option<&Topic>,
    ) -> Result<usize, StoreError> {
        let mut count = 0;
        if let Some(cluster) = &self.cluster {
            count = cluster.recall_all(user, topic).await?;
        }
        let still = match &self.claimer {
            Some(claimer) => {
                claimer.claim_for_recall(user).await;
                claimer.hold_still().await?
            }
            None => None,
        };
        let matches =
            |n: &Notification| n.user_id == *user && (topic.is_none() || n.topic.as_ref() == topic);
        let polled = self.poll.recall(matches);
        let mut taken: Vec<_> =
            polled.into_iter().map(|(n, pushed)| (self.leave_poll(&n), pushed)).collect();
        let waiting = match &self.cluster {
            Some(_) => Vec::new(),
            None => self.wake.rooms.with(user, |room| room.recall_all(user, topic)),
        };
        taken.extend(
            waiting
                .into_iter()
                .map(|TakenBack { notification, pushed, .. }| (notification, pushed)),
        );
        drop(still);
        count += taken.len();
        let flush = taken.iter().any(|(_, pushed)| *pushed);
        self.recalled(taken).await;
        if flush {
            self.wake.flush_later(user);
        }
        // In a cluster, the recall has waited for these.
        let promoting = match &self.cluster {
            Some(_) => Vec::new(),
            None => self.wake.promoting(matches),
        };
        for id in promoting {
            if self.recall_promotion(id).await? == Some(Outcome::Recalled) {
                count += 1;
            }
        }
        if let Some(store) = self.wake.inbox() {
            loop {
                let remove = store.remove_undelivered(user, topic.cloned());
                let removed = self.cx.guarded(INBOX, remove).await?;
                let last = removed.len() < 1_000;
                let mut taken = Vec::new();
                for item in removed {
                    let n = self.cx.taken_in(item.notification);
                    let here =
                        self.wake.rooms.with(user, |room| room.removed_from_inbox(user, n.id));
                    match here {
                        ItemHere::Open => taken.push((n, true)),
                        ItemHere::Acknowledged => self.recorded_by_removing(&n),
                    }
                }
                count += taken.len();
                self.recalled(taken).await;
                if last {
                    break;
                }
            }
        }
        Ok(count)
    }

    /// Takes a notification out of this node's memory.
    fn take_back(&self, id: NotificationId) -> Option<(Notification, bool)> {
        if let Some(TakenBack { notification, pushed, .. }) =
            self.wake.rooms.first(|room| room.recall(id))
        {
            if pushed {
                // Later notifications of this user may have waited for its retry.
                self.wake.flush_later(&notification.user_id);
            }
            return Some((notification, pushed));
        }
        let (n, pushed) = self.poll.recall(|n| n.id == id).pop()?;
        Some((self.leave_poll(&n), pushed))
    }

    fn leave_poll(&self, n: &Notification) -> Notification {
        self.cx.capacity.leave(&n.kind, n.payload.as_str().len());
        n.clone()
    }

    /// Removes an item from the inbox.
    async fn recall_item(&self, id: NotificationId) -> Result<Option<Recall>, StoreError> {
        let Some(store) = self.wake.inbox() else { return Ok(None) };
        let Some(removed) = self.cx.guarded(INBOX, store.remove(id)).await? else {
            return Ok(None);
        };
        let n = self.cx.taken_in(removed.item.notification);
        let here = self.wake.rooms.with(&n.user_id, |room| room.removed_from_inbox(&n.user_id, id));
        let (user, ended) =
            (n.user_id.clone(), removed.delivered || here == ItemHere::Acknowledged);
        let outcome = match (removed.item.by, ended) {
            (EnteredBy::Policy, false) => Outcome::Recalled,
            (EnteredBy::Policy, true) => Outcome::Delivered,
            (EnteredBy::Expiry, _) => Outcome::Promoted,
        };
        if outcome == Outcome::Recalled {
            self.recalled(vec![(n, true)]).await;
        } else {
            if outcome == Outcome::Delivered && !removed.delivered {
                self.recorded_by_removing(&n);
            }
            self.cx.retract(&user, id, RetractReason::Recalled).await;
        }
        self.wake.flush_later(&user);
        Ok(Some(Recall { outcome, pushed: true }))
    }

    /// An item was removed after a connection had acknowledged it here, and before the inbox had recorded that. In a
    /// cluster its end is told only now: there will be nothing left to record.
    fn recorded_by_removing(&self, n: &Notification) {
        if self.wake.is_shared() {
            self.cx.tell(vec![self.cx.endings.end_here(n, Outcome::Delivered)]);
        }
    }

    /// Ends what was taken back, and tells the connections that may show it: those with `true`.
    pub(crate) async fn recalled(&self, taken: Vec<(Notification, bool)>) {
        let end = |(n, _): &(Notification, bool)| self.cx.endings.end_here(n, Outcome::Recalled);
        let ended: Vec<Ended> = taken.iter().map(end).collect();
        for (n, pushed) in &taken {
            if *pushed {
                self.cx.retract(&n.user_id, n.id, RetractReason::Recalled).await;
            }
        }
        self.cx.tell(ended);
    }
}
