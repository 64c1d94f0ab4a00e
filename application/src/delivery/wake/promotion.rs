//! Promotion: a notification whose TTL has ended goes to the inbox, if the rule of its kind says so.

use std::sync::Arc;

use doorstep_domain::ports::{EnteredBy, StoreError};
use doorstep_domain::{Ended, Notification, NotificationId, Outcome};

use super::Wake;
use super::queues::{INBOX, InboxQueues, first, take_away};
use crate::delivery::mailbox::ItemHere;
use crate::delivery::policy::OnExpiry;

impl Wake {
    /// The TTL has ended: the notification expires, or is promoted to the inbox, as its rule says.
    pub(in crate::delivery) fn ttl_ended(&self, n: Notification, ended: &mut Vec<Ended>) {
        if let Some(n) = self.promote(n) {
            ended.extend(self.cx.endings.end(&n, Outcome::Expired));
        }
    }

    /// Queues an expired notification for the inbox, or returns it if its rule does not say so.
    ///
    /// A caller that has taken it out of a mailbox calls this under the same lock: a recall that looks into the
    /// mailboxes first and into the queue second must find it in one of them.
    pub(super) fn promote(&self, n: Notification) -> Option<Notification> {
        match &self.queues {
            Some(_) if self.cx.rules.of(&n.kind).on_expiry == OnExpiry::Inbox => {
                match self.cx.endings.decisions() {
                    Some(decisions) => decisions.promote(n),
                    None => self.write_promotion(n),
                }
                None
            }
            _ => Some(n),
        }
    }

    /// Queues a notification to be written to the inbox. In a cluster: this node has won that.
    pub(in crate::delivery) fn write_promotion(&self, n: Notification) {
        let Some(queues) = &self.queues else {
            // Another node's rules say so, and this one has no inbox.
            self.cx.endings.end(&n, Outcome::Expired);
            return;
        };
        self.cx.capacity.force(1, n.payload.as_str().len());
        queues.promotions.push(n);
    }

    /// Writes what expired into the inbox, in batches, until the node stops.
    pub(super) async fn keep_promoting(self: &Arc<Self>) {
        let Some(queues) = &self.queues else { return };
        loop {
            let write = || self.write_promotions(queues);
            let Some(batch) = self.insist("promote what expired", write).await else { return };
            if !batch.is_empty() {
                self.promoted(&batch);
            } else if self.stopped_while(queues.promotions.bell.notified()).await {
                return;
            }
        }
    }

    /// Writes a batch of the queue into the inbox, and returns it.
    pub(super) async fn write_promotions(
        &self,
        queues: &InboxQueues,
    ) -> Result<Vec<Notification>, StoreError> {
        let _writing = queues.promotions.writing.lock().await;
        let batch = first(&queues.promotions.queue);
        if !batch.is_empty() {
            let shown = self.cx.all_shown(&batch);
            self.cx.guarded(INBOX, queues.store.add(&shown, EnteredBy::Expiry)).await?;
            take_away(&queues.promotions.queue, batch.len());
        }
        Ok(batch)
    }

    pub(super) fn promoted(self: &Arc<Self>, batch: &[Notification]) {
        let bytes = batch.iter().map(|n| n.payload.as_str().len()).sum();
        self.cx.capacity.release(batch.len(), bytes);
        let end = |n| self.cx.endings.end(n, Outcome::Promoted);
        let ended: Vec<Ended> = batch.iter().filter_map(end).collect();
        let mut users: Vec<_> = batch.iter().map(|n| n.user_id.clone()).collect();
        users.sort_unstable();
        users.dedup();
        // The other nodes of a cluster look when they read that it was promoted.
        for user in &users {
            self.look_if_online(user);
        }
        self.cx.tell(ended);
    }

    /// The ids of notifications that are on their way to the inbox and match.
    pub(in crate::delivery) fn promoting(
        &self,
        such: impl Fn(&Notification) -> bool,
    ) -> Vec<NotificationId> {
        self.queues.as_ref().map_or_else(Vec::new, |queues| queues.promotions.find(such))
    }

    /// Takes back a notification that is on its way to the inbox. Returns it with the outcome that it has now;
    /// `None` if it is not, or no longer, on its way. Fails if the inbox does not respond: then nothing has changed.
    pub(in crate::delivery) async fn recall_promotion(
        &self,
        id: NotificationId,
    ) -> Result<Option<(Notification, Outcome)>, StoreError> {
        let Some(queues) = &self.queues else { return Ok(None) };
        if !queues.promotions.contains(id) {
            return Ok(None);
        }
        let patience = self.cx.limits.inbox_patience;
        let taking = async {
            let _writing = queues.promotions.writing.lock().await;
            if !queues.promotions.contains(id) {
                return Ok(None);
            }
            // A write that reported a failure may have reached the inbox.
            let removed = self.cx.guarded(INBOX, queues.store.remove(id)).await?;
            let Some(n) = queues.promotions.take(id) else { return Ok(None) };
            self.cx.capacity.release(1, n.payload.as_str().len());
            let here =
                self.rooms.with(&n.user_id, |room| room.removed_from_inbox(&n.user_id, n.id));
            let seen =
                here == ItemHere::Acknowledged || removed.is_some_and(|removed| removed.delivered);
            Ok(Some((n, if seen { Outcome::Promoted } else { Outcome::Recalled })))
        };
        tokio::time::timeout(patience, taking).await.unwrap_or_else(|elapsed| {
            Err(StoreError::Unavailable(format!("the {INBOX}: {elapsed}").into()))
        })
    }
}
