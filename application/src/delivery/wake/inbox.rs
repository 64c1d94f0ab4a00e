//! The inbox: loads what was not delivered to a user, records what was delivered.

use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{EnteredBy, RetractReason, StoreError, Which};
use doorstep_domain::{NotificationId, Outcome, UserId};

use super::Wake;
use super::queues::{BATCH, INBOX, ToMark, first, take_away};

/// How many items of the inbox are loaded at a time for an arriving user.
const PAGE: usize = 100;
/// How long one write may take before it is repeated.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The first and the longest pause after a write that failed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The pause before loading again for a user after a load failed.
const LOOK_LATER: Duration = Duration::from_secs(5);

impl Wake {
    /// Loads from the inbox if the user is there. An absent user costs nothing.
    pub(in crate::delivery) fn look_if_online(self: &Arc<Self>, user: &UserId) {
        let (this, user) = (self.clone(), user.clone());
        self.cx.tasks.now_or_later(async move {
            if this.cx.is_online(&user).await {
                this.rooms.with(&user, |room| room.look_into_inbox(&user));
                this.flush_later(&user);
            }
        });
    }

    /// Loads a page of undelivered items. If the inbox takes too long, the notifications in memory are pushed
    /// first, and a task loads again later.
    pub(super) async fn look(self: &Arc<Self>, user: &UserId) {
        let patience = self.cx.limits.inbox_patience;
        let Some(queues) = &self.queues else { return };
        let page = self.cx.guarded(INBOX, queues.store.undelivered(user, PAGE));
        let why = match tokio::time::timeout(patience, page).await {
            Ok(Ok(mut items)) => {
                let more = items.len() >= PAGE;
                for item in &mut items {
                    let n = &mut item.notification;
                    n.created_at = self.cx.clock.moment_of(n.created_at);
                }
                self.rooms.with(user, |room| room.looked(user, items, more));
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        tracing::warn!(user = %user, error = %why, "could not load from the inbox; trying again later");
        if self.rooms.with(user, |room| room.look_failed(user)) {
            let (this, user) = (self.clone(), user.clone());
            self.cx.tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = this.cx.tasks.stop().cancelled() => return,
                    () = tokio::time::sleep(LOOK_LATER) => {}
                }
                let there = this.cx.is_online(&user).await;
                this.rooms.with(&user, |room| room.look_again_now(&user, there));
                this.flush_later(&user);
            });
        }
    }

    /// Records in the store what was delivered, in batches, until the node stops.
    pub(super) async fn keep_marking(self: &Arc<Self>) {
        let Some(queues) = &self.queues else { return };
        loop {
            let batch = first(&queues.to_mark);
            if batch.is_empty() {
                if self.stopped_while(queues.mark_bell.notified()).await {
                    return;
                }
                continue;
            }
            let (at, items) = (self.cx.clock.wall(), items_of(&batch));
            let write = || queues.store.mark_delivered(&items, at);
            let Some(marked) = self.insist("mark what was delivered", write).await else { return };
            take_away(&queues.to_mark, batch.len());
            self.tell_marked(&batch, marked);
            for (user, id) in &items {
                if self.rooms.with(user, |room| room.marked(user, *id)) {
                    self.flush_later(user);
                }
            }
        }
    }

    /// Writes out both queues once, when the node stops. What cannot be promoted now is handed over; what cannot
    /// be recorded as delivered will be pushed once more.
    pub(in crate::delivery) async fn drain_inbox_queues(
        self: &Arc<Self>,
    ) -> Result<(), StoreError> {
        let Some(queues) = &self.queues else { return Ok(()) };
        loop {
            let batch = self.write_promotions(queues).await?;
            if batch.is_empty() {
                break;
            }
            self.promoted(&batch);
        }
        loop {
            let batch = first(&queues.to_mark);
            if batch.is_empty() {
                return Ok(());
            }
            let items = items_of(&batch);
            let mark = queues.store.mark_delivered(&items, self.cx.clock.wall());
            let marked = self.cx.guarded(INBOX, mark).await?;
            take_away(&queues.to_mark, batch.len());
            self.tell_marked(&batch, marked);
        }
    }

    /// In a cluster, tells the ends that this node was the first to record.
    fn tell_marked(&self, batch: &[ToMark], mut marked: Vec<NotificationId>) {
        marked.sort_unstable();
        let ends = batch.iter().filter(|one| marked.binary_search(&one.id).is_ok());
        let ends = ends.filter_map(|one| one.ends.as_deref().cloned());
        self.cx.tell(
            ends.map(|ending| self.cx.endings.decided(ending, Outcome::Delivered, true)).collect(),
        );
    }

    /// Repeats a write until it succeeds. Returns `None` if the node stops first.
    pub(super) async fn insist<T, F>(&self, what: &str, write: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut pause = PAUSE.0;
        loop {
            let why =
                match tokio::time::timeout(WRITE_TIMEOUT, self.cx.guarded(INBOX, write())).await {
                    Ok(Ok(written)) => return Some(written),
                    Ok(Err(error)) => error.to_string(),
                    Err(elapsed) => elapsed.to_string(),
                };
            tracing::warn!(error = %why, retry_in = ?pause, "could not {what}; trying again");
            if self.stopped_while(tokio::time::sleep(pause)).await {
                return None;
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    pub(super) async fn stopped_while(&self, wait: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = self.cx.tasks.stop().cancelled() => true,
            () = wait => false,
        }
    }

    /// The user read one item or all of them. Returns false if there is no such item.
    pub(in crate::delivery) async fn read(
        self: &Arc<Self>,
        user: &UserId,
        which: Which,
    ) -> Result<bool, StoreError> {
        let Some(queues) = &self.queues else { return Ok(false) };
        loop {
            let at = self.cx.clock.wall();
            let read = self.cx.guarded(INBOX, queues.store.mark_read(user, which, at));
            let Some(fresh) = read.await? else { return Ok(false) };
            let mut ended = Vec::new();
            for item in &fresh {
                let n = &self.cx.taken_in(item.notification.clone());
                // Reading ends it, unless an acknowledgement has ended it and is not recorded yet.
                let ends = self.rooms.with(user, |room| room.read(user, n.id));
                if let Some(others) = self.cx.others.get() {
                    let reason = RetractReason::AcknowledgedElsewhere;
                    others.hint_to_retract(user.clone(), n.id, reason);
                }
                // In a cluster the acknowledgement will find that the item was recorded as read.
                if (ends || self.is_shared()) && item.by == EnteredBy::Policy {
                    ended.push(self.cx.endings.end_here(n, Outcome::Delivered));
                }
            }
            self.cx.tell(ended);
            self.flush_later(user);
            if which != Which::All || fresh.len() < BATCH {
                return Ok(true);
            }
        }
    }
}

/// The users and ids of a batch, as the store takes them.
fn items_of(batch: &[ToMark]) -> Vec<(UserId, NotificationId)> {
    batch.iter().map(|one| (one.user.clone(), one.id)).collect()
}
