//! The queues between the mailboxes and the inbox.

use std::collections::VecDeque;
use std::sync::Arc;

use doorstep_domain::ports::Inbox;
use doorstep_domain::{Notification, NotificationId, UserId};
use tokio::sync::Notify;

use super::entries::Entries;
use crate::delivery::endings::Ending;
use crate::delivery::sync::Mutex;

/// The store's name in errors and logs.
pub(in crate::delivery) const INBOX: &str = "inbox";

/// The largest write to the store.
pub(super) const BATCH: usize = 1000;

/// The queues between the mailboxes and the inbox. What is to be marked or promoted counts against the node's limits.
pub(super) struct InboxQueues {
    pub(super) store: Arc<dyn Inbox>,
    /// Sent by policy, not yet in the inbox.
    pub(super) entries: Entries,
    /// Delivered, not yet recorded in the inbox.
    pub(super) to_mark: Mutex<VecDeque<ToMark>>,
    pub(super) mark_bell: Notify,
    /// Expired, not yet in the inbox.
    pub(super) promotions: Promotions,
}

impl InboxQueues {
    pub(super) fn new(store: Arc<dyn Inbox>) -> Self {
        Self {
            store,
            entries: Entries::default(),
            to_mark: Mutex::default(),
            mark_bell: Notify::new(),
            promotions: Promotions::default(),
        }
    }

    pub(super) fn mark(&self, one: ToMark) {
        self.to_mark.lock().push_back(one);
        self.mark_bell.notify_one();
    }

    pub(super) fn store(&self) -> &dyn Inbox {
        &*self.store
    }
}

/// An item that was delivered.
#[derive(Clone)]
pub(super) struct ToMark {
    pub(super) user: UserId,
    pub(super) id: NotificationId,
    /// In a cluster, its end: told if this node is the first to record it.
    pub(super) ends: Option<Arc<Ending>>,
}

/// Copies the front of a queue. [`take_away`] removes it after it has been written.
pub(super) fn first<T: Clone>(queue: &Mutex<VecDeque<T>>) -> Vec<T> {
    queue.lock().iter().take(BATCH).cloned().collect()
}

pub(super) fn take_away<T>(queue: &Mutex<VecDeque<T>>, count: usize) {
    let mut queue = queue.lock();
    let count = count.min(queue.len());
    queue.drain(..count);
    if queue.is_empty() {
        queue.shrink_to(BATCH);
    }
}

/// Expired notifications that are not in the inbox yet.
#[derive(Default)]
pub(super) struct Promotions {
    pub(super) queue: Mutex<VecDeque<Notification>>,
    pub(super) bell: Notify,
    /// Held during each attempt to write, and while a sender takes one back. **So none is written after it was taken
    /// back.**
    pub(super) writing: tokio::sync::Mutex<()>,
}

impl Promotions {
    pub(super) fn push(&self, n: Notification) {
        self.queue.lock().push_back(n);
        self.bell.notify_one();
    }

    pub(super) fn contains(&self, id: NotificationId) -> bool {
        self.queue.lock().iter().any(|n| n.id == id)
    }

    pub(super) fn take(&self, id: NotificationId) -> Option<Notification> {
        let mut queue = self.queue.lock();
        let position = queue.iter().position(|n| n.id == id)?;
        queue.remove(position)
    }

    /// The ids of those that match.
    pub(super) fn find(&self, such: impl Fn(&Notification) -> bool) -> Vec<NotificationId> {
        self.queue.lock().iter().filter(|n| such(n)).map(|n| n.id).collect()
    }

    /// Takes all of them when the node stops.
    pub(super) fn drain(&self) -> Vec<Notification> {
        self.queue.lock().drain(..).collect()
    }
}
