//! The inbox and the handover in memory: for the simulation, which cannot wait for a disk, and for trying the
//! delivery without a database. It passes the same contract suites as the real stores.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use doorstep_domain::ports::{
    EnteredBy, Handover, Inbox, InboxItem, Left, Removed, Retention, StoreError, Which,
};
use doorstep_domain::{Notification, NotificationId, Timestamp, Topic, UserId};

/// Loses everything when it is dropped.
#[derive(Default)]
pub struct Memory {
    inbox: Mutex<Vec<Row>>,
    handover: Mutex<Vec<(u64, Notification)>>,
    left: AtomicU64,
}

struct Row {
    item: InboxItem,
    delivered: bool,
    /// When it was marked as delivered, if it was.
    marked_at: Option<Timestamp>,
}

impl Memory {
    fn rows(&self) -> MutexGuard<'_, Vec<Row>> {
        self.inbox.lock().expect("no panic under this lock")
    }

    fn left(&self) -> MutexGuard<'_, Vec<(u64, Notification)>> {
        self.handover.lock().expect("no panic under this lock")
    }

    /// Takes at most `limit` notifications for which `such` holds.
    fn take_such(&self, limit: usize, such: impl Fn(&Notification) -> bool) -> Vec<Notification> {
        let mut left = self.left();
        let mut taken = Vec::new();
        left.retain(|(_, n)| {
            let wanted = taken.len() < limit && such(n);
            if wanted {
                taken.push(n.clone());
            }
            !wanted
        });
        taken
    }

    /// All items of all users.
    pub(crate) fn items(&self) -> Vec<InboxItem> {
        self.rows().iter().map(|row| row.item.clone()).collect()
    }

    /// All that was left, in order.
    pub(crate) fn waiting(&self) -> Vec<Notification> {
        self.left().iter().map(|(_, n)| n.clone()).collect()
    }

    /// Whether this item is in the inbox and has not been delivered yet.
    pub fn has_undelivered(&self, id: NotificationId) -> bool {
        self.rows().iter().any(|row| row.item.notification.id == id && !row.delivered)
    }

    /// How many items of all users have not been delivered yet.
    pub fn count_undelivered(&self) -> usize {
        self.rows().iter().filter(|row| !row.delivered).count()
    }
}

#[async_trait]
impl Inbox for Memory {
    async fn add(&self, notifications: &[Notification], by: EnteredBy) -> Result<(), StoreError> {
        let mut rows = self.rows();
        for n in notifications {
            if !rows.iter().any(|row| row.item.notification.id == n.id) {
                let item = InboxItem { notification: n.clone(), by, read_at: None };
                rows.push(Row { item, delivered: false, marked_at: None });
            }
        }
        Ok(())
    }

    async fn undelivered(&self, user: &UserId, limit: usize) -> Result<Vec<InboxItem>, StoreError> {
        let rows = self.rows();
        let theirs = rows.iter().filter(|r| r.item.notification.user_id == *user && !r.delivered);
        Ok(theirs.take(limit).map(|row| row.item.clone()).collect())
    }

    async fn mark_delivered(
        &self,
        items: &[(UserId, NotificationId)],
        at: Timestamp,
    ) -> Result<Vec<NotificationId>, StoreError> {
        let mut marked = Vec::new();
        for row in self.rows().iter_mut() {
            let n = &row.item.notification;
            let wanted = items.iter().any(|(user, id)| *user == n.user_id && *id == n.id);
            if wanted && (!row.delivered || row.marked_at == Some(at)) {
                (row.delivered, row.marked_at) = (true, Some(at));
                marked.push(n.id);
            }
        }
        Ok(marked)
    }

    async fn page(
        &self,
        user: &UserId,
        unread_only: bool,
        before: Option<NotificationId>,
        limit: usize,
    ) -> Result<Vec<InboxItem>, StoreError> {
        let rows = self.rows();
        let theirs = rows.iter().rev().filter(|r| r.item.notification.user_id == *user);
        let from = theirs
            .skip_while(|row| before.is_some_and(|id| row.item.notification.id != id))
            .skip(usize::from(before.is_some()));
        let wanted = from.filter(|row| !unread_only || row.item.read_at.is_none());
        Ok(wanted.take(limit).map(|row| row.item.clone()).collect())
    }

    async fn mark_read(
        &self,
        user: &UserId,
        which: Which,
        at: Timestamp,
    ) -> Result<Option<Vec<InboxItem>>, StoreError> {
        let mut rows = self.rows();
        let mut found = which == Which::All;
        let mut fresh = Vec::new();
        for row in rows.iter_mut().filter(|row| row.item.notification.user_id == *user) {
            if matches!(which, Which::One(id) if id != row.item.notification.id) {
                continue;
            }
            found = true;
            if fresh.len() == 1000 {
                break;
            }
            row.item.read_at.get_or_insert(at);
            if !std::mem::replace(&mut row.delivered, true) {
                fresh.push(row.item.clone());
            }
        }
        Ok(found.then_some(fresh))
    }

    async fn unread(&self, user: &UserId) -> Result<u64, StoreError> {
        let unread =
            |row: &&Row| row.item.notification.user_id == *user && row.item.read_at.is_none();
        Ok(self.rows().iter().filter(unread).count() as u64)
    }

    async fn remove(&self, id: NotificationId) -> Result<Option<Removed>, StoreError> {
        let mut rows = self.rows();
        let found = rows.iter().position(|row| row.item.notification.id == id);
        Ok(found.map(|at| {
            let Row { item, delivered, .. } = rows.remove(at);
            Removed { item, delivered }
        }))
    }

    async fn remove_undelivered(
        &self,
        user: &UserId,
        topic: Option<Topic>,
    ) -> Result<Vec<InboxItem>, StoreError> {
        let mut removed = Vec::new();
        self.rows().retain(|row| {
            let n = &row.item.notification;
            let goes = n.user_id == *user
                && !row.delivered
                && row.item.by == EnteredBy::Policy
                && (topic.is_none() || n.topic == topic)
                && removed.len() < 1000;
            if goes {
                removed.push(row.item.clone());
            }
            !goes
        });
        Ok(removed)
    }
}

#[async_trait]
impl Retention for Memory {
    async fn remove_read(&self, until: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let mut rows = self.rows();
        let old = |row: &Row| row.item.read_at.is_some_and(|at| at <= until);
        let mut moments: Vec<_> =
            rows.iter().filter(|row| old(row)).filter_map(|row| row.item.read_at).collect();
        moments.sort_unstable();
        moments.truncate(limit);
        for moment in &moments {
            if let Some(at) = rows.iter().position(|row| row.item.read_at == Some(*moment)) {
                rows.remove(at);
            }
        }
        Ok(moments.len() as u64)
    }
}

#[async_trait]
impl Handover for Memory {
    async fn leave(&self, waiting: &[Notification]) -> Result<(), StoreError> {
        let mut left = self.left();
        for n in waiting {
            if !left.iter().any(|(_, other)| other.id == n.id) {
                left.push((self.left.fetch_add(1, Relaxed) + 1, n.clone()));
            }
        }
        Ok(())
    }

    async fn take(&self, limit: usize) -> Result<Vec<Notification>, StoreError> {
        Ok(self.take_such(limit, |_| true))
    }

    async fn take_for(&self, user: &UserId, limit: usize) -> Result<Vec<Notification>, StoreError> {
        Ok(self.take_such(limit, |n| n.user_id == *user))
    }

    async fn take_one(&self, id: NotificationId) -> Result<Option<Notification>, StoreError> {
        Ok(self.take_such(1, |n| n.id == id).pop())
    }

    async fn take_expired(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        let ended =
            |n: &Notification| n.ttl.is_some_and(|ttl| n.created_at + ttl.as_duration() <= now);
        Ok(self.take_such(limit, ended))
    }

    async fn look(&self, after: u64, limit: usize) -> Result<Vec<Left>, StoreError> {
        let left = self.left();
        let behind = left.iter().filter(|(place, _)| *place > after).take(limit);
        Ok(behind.map(|(place, n)| Left { place: *place, user: n.user_id.clone() }).collect())
    }

    fn is_shared(&self) -> bool {
        true
    }
}
