//! Retention: the one in memory, with a flaw.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{EnteredBy, Inbox, InboxItem, Removed, Retention, StoreError, Which};
use doorstep_domain::{Notification, NotificationId, Timestamp, Topic, UserId};
use tokio::task::yield_now;

use super::{WrongAdapter, with_flaws};
use crate::memory::Memory;
use crate::retention;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    KeepsTheLastMoment,
    RemovesAllRead,
    IgnoresLimit,
    LastReadFirst,
    ReturnsTheLimit,
    RemovesOldUnread,
    RemembersRemoved,
    CountsThenRemoves,
}

/// What each does, and the promise that it breaks.
const ALL: [(Flaw, &str, &str); 8] = [
    (Flaw::KeepsTheLastMoment, "keeps what was read at `until` itself", "retention until"),
    (Flaw::RemovesAllRead, "removes whatever was read", "retention until"),
    (Flaw::IgnoresLimit, "removes any number", "retention limit"),
    (Flaw::LastReadFirst, "removes what was read last", "retention first read first"),
    (Flaw::ReturnsTheLimit, "returns the limit as the count", "retention count"),
    (Flaw::RemovesOldUnread, "removes unread items that are old", "retention unread"),
    (Flaw::RemembersRemoved, "does not add what it removed once", "retention again"),
    (Flaw::CountsThenRemoves, "counts what is there, and then removes it", "retention at once"),
];

pub(super) fn all() -> Vec<WrongAdapter> {
    with_flaws(&ALL, |flaw| async move {
        let wrong = Arc::new(Wrong { flaw, inner: Memory::default(), removed: Mutex::default() });
        retention(wrong.clone(), wrong).await;
    })
}

/// The store in memory behind a flaw.
struct Wrong {
    flaw: Flaw,
    inner: Memory,
    removed: Mutex<HashSet<NotificationId>>,
}

impl Wrong {
    /// What was read until then, the first read first.
    fn read_until(&self, until: Timestamp) -> Vec<InboxItem> {
        let mut items = self.inner.items();
        items.retain(|item| item.read_at.is_some_and(|at| at <= until));
        items.sort_by_key(|item| item.read_at);
        items
    }
}

#[async_trait]
impl Retention for Wrong {
    async fn remove_read(&self, until: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let inner = |until, limit| self.inner.remove_read(until, limit);
        match self.flaw {
            Flaw::KeepsTheLastMoment => inner(until - Duration::from_micros(1), limit).await,
            Flaw::RemovesAllRead => inner(Timestamp::MAX, limit).await,
            Flaw::IgnoresLimit => inner(until, usize::MAX).await,
            Flaw::LastReadFirst => {
                let last = self.read_until(until).into_iter().rev().take(limit);
                let mut count = 0;
                for item in last {
                    count += u64::from(self.inner.remove(item.notification.id).await?.is_some());
                }
                Ok(count)
            }
            Flaw::ReturnsTheLimit => inner(until, limit).await.map(|_| limit as u64),
            Flaw::RemovesOldUnread => {
                for Notification { id, created_at, .. } in
                    self.inner.items().into_iter().map(|item| item.notification)
                {
                    if created_at + Duration::from_hours(1) <= until {
                        self.inner.remove(id).await?;
                    }
                }
                inner(until, limit).await
            }
            Flaw::RemembersRemoved => {
                let ids = self.read_until(until).into_iter().map(|item| item.notification.id);
                self.removed.lock().unwrap_or_else(PoisonError::into_inner).extend(ids.take(limit));
                inner(until, limit).await
            }
            Flaw::CountsThenRemoves => {
                let count = self.read_until(until).len().min(limit) as u64;
                yield_now().await;
                inner(until, limit).await?;
                Ok(count)
            }
        }
    }
}

#[async_trait]
impl Inbox for Wrong {
    async fn add(&self, notifications: &[Notification], by: EnteredBy) -> Result<(), StoreError> {
        let mut all = notifications.to_vec();
        let removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.retain(|n| !removed.contains(&n.id));
        self.inner.add(&all, by).await
    }

    async fn undelivered(&self, user: &UserId, limit: usize) -> Result<Vec<InboxItem>, StoreError> {
        self.inner.undelivered(user, limit).await
    }

    async fn mark_delivered(
        &self,
        items: &[(UserId, NotificationId)],
        at: Timestamp,
    ) -> Result<Vec<NotificationId>, StoreError> {
        self.inner.mark_delivered(items, at).await
    }

    async fn page(
        &self,
        user: &UserId,
        unread_only: bool,
        before: Option<NotificationId>,
        limit: usize,
    ) -> Result<Vec<InboxItem>, StoreError> {
        self.inner.page(user, unread_only, before, limit).await
    }

    async fn mark_read(
        &self,
        user: &UserId,
        which: Which,
        at: Timestamp,
    ) -> Result<Option<Vec<InboxItem>>, StoreError> {
        self.inner.mark_read(user, which, at).await
    }

    async fn unread(&self, user: &UserId) -> Result<u64, StoreError> {
        self.inner.unread(user).await
    }

    async fn remove(&self, id: NotificationId) -> Result<Option<Removed>, StoreError> {
        self.inner.remove(id).await
    }

    async fn remove_undelivered(
        &self,
        user: &UserId,
        topic: Option<Topic>,
    ) -> Result<Vec<InboxItem>, StoreError> {
        self.inner.remove_undelivered(user, topic).await
    }
}
