//! The stores in memory. They may be slow, refuse, or carry out a call and report a failure.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use doorstep_domain::ports::StoreError;

use super::dice::Dice;
use crate::memory::Memory;
use doorstep_domain::ports::{EnteredBy, Handover, Inbox, InboxItem, Left, Removed, Which};
use doorstep_domain::{Notification, NotificationId, Timestamp, Topic, UserId};

pub(super) struct Stores {
    memory: Memory,
    luck: Mutex<(bool, Dice)>,
    node_life: AtomicU64,
}

/// What the store does with a call.
enum Luck {
    Does,
    Refuses,
    DoesAndFails,
}

impl Stores {
    pub(super) fn new(dice: Dice) -> Self {
        Self {
            memory: Memory::default(),
            luck: Mutex::new((false, dice)),
            node_life: AtomicU64::new(0),
        }
    }

    fn luck(&self) -> MutexGuard<'_, (bool, Dice)> {
        self.luck.lock().expect("no panic under this lock")
    }

    pub(super) fn trouble(&self, trouble: bool) {
        self.luck().0 = trouble;
    }

    /// The node is gone, and its current call is not carried out.
    pub(super) fn node_gone(&self) {
        self.node_life.fetch_add(1, Relaxed);
    }

    pub(super) fn in_trouble(&self) -> bool {
        self.luck().0
    }

    pub(super) fn has_undelivered(&self, id: NotificationId) -> bool {
        self.memory.has_undelivered(id)
    }

    pub(super) fn count_undelivered(&self) -> usize {
        self.memory.count_undelivered()
    }

    async fn throw(&self) -> Luck {
        let (trouble, what, delay) = {
            let mut luck = self.luck();
            (luck.0, luck.1.below(4), luck.1.below(1000))
        };
        if !trouble {
            return Luck::Does;
        }
        let life = self.node_life.load(Relaxed);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        if self.node_life.load(Relaxed) != life {
            // The caller was killed, and the call never arrived.
            std::future::pending::<()>().await;
        }
        match what {
            0 | 1 => Luck::Refuses,
            2 => Luck::DoesAndFails,
            _ => Luck::Does,
        }
    }

    async fn call<T>(
        &self,
        f: impl AsyncFnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let away = || StoreError::Unavailable("simulated".into());
        match self.throw().await {
            Luck::Does => f().await,
            Luck::Refuses => Err(away()),
            Luck::DoesAndFails => f().await.and(Err(away())),
        }
    }

    pub(super) async fn add(
        &self,
        items: &[Notification],
        by: EnteredBy,
    ) -> Result<(), StoreError> {
        self.call(async || self.memory.add(items, by).await).await
    }

    pub(super) async fn undelivered(
        &self,
        user: &UserId,
        limit: usize,
    ) -> Result<Vec<InboxItem>, StoreError> {
        self.call(async || self.memory.undelivered(user, limit).await).await
    }

    pub(super) async fn mark_delivered(
        &self,
        items: &[(UserId, NotificationId)],
        at: Timestamp,
    ) -> Result<Vec<NotificationId>, StoreError> {
        self.call(async || self.memory.mark_delivered(items, at).await).await
    }

    pub(super) async fn page(
        &self,
        user: &UserId,
        unread_only: bool,
        before: Option<NotificationId>,
        limit: usize,
    ) -> Result<Vec<InboxItem>, StoreError> {
        self.call(async || self.memory.page(user, unread_only, before, limit).await).await
    }

    /// Succeeds or refuses. If it marked items and reported a failure, nobody would report their delivery.
    pub(super) async fn mark_read(
        &self,
        user: &UserId,
        which: Which,
        at: Timestamp,
    ) -> Result<Option<Vec<InboxItem>>, StoreError> {
        match self.throw().await {
            Luck::Does => self.memory.mark_read(user, which, at).await,
            _ => Err(StoreError::Unavailable("simulated".into())),
        }
    }

    pub(super) async fn unread(&self, user: &UserId) -> Result<u64, StoreError> {
        self.call(async || self.memory.unread(user).await).await
    }

    /// Does or refuses: what it removes and does not say would be an end that nobody tells.
    pub(super) async fn remove(&self, id: NotificationId) -> Result<Option<Removed>, StoreError> {
        match self.throw().await {
            Luck::Does => self.memory.remove(id).await,
            _ => Err(StoreError::Unavailable("simulated".into())),
        }
    }

    /// Does or refuses, as `remove`.
    pub(super) async fn remove_undelivered(
        &self,
        user: &UserId,
        topic: Option<Topic>,
    ) -> Result<Vec<InboxItem>, StoreError> {
        match self.throw().await {
            Luck::Does => self.memory.remove_undelivered(user, topic).await,
            _ => Err(StoreError::Unavailable("simulated".into())),
        }
    }

    pub(super) async fn take_one(
        &self,
        id: NotificationId,
    ) -> Result<Option<Notification>, StoreError> {
        match self.throw().await {
            Luck::Does => self.memory.take_one(id).await,
            _ => Err(StoreError::Unavailable("simulated".into())),
        }
    }

    pub(super) async fn leave(&self, waiting: &[Notification]) -> Result<(), StoreError> {
        self.call(async || self.memory.leave(waiting).await).await
    }

    /// Succeeds or refuses. If it took notifications and reported a failure, they would be lost.
    async fn take_or_refuse(
        &self,
        take: impl AsyncFnOnce() -> Result<Vec<Notification>, StoreError>,
    ) -> Result<Vec<Notification>, StoreError> {
        match self.throw().await {
            Luck::Does => take().await,
            _ => Err(StoreError::Unavailable("simulated".into())),
        }
    }

    pub(super) async fn take(&self, limit: usize) -> Result<Vec<Notification>, StoreError> {
        self.take_or_refuse(async || self.memory.take(limit).await).await
    }

    pub(super) async fn take_for(
        &self,
        user: &UserId,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        self.take_or_refuse(async || self.memory.take_for(user, limit).await).await
    }

    pub(super) async fn take_expired(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        self.take_or_refuse(async || self.memory.take_expired(now, limit).await).await
    }

    pub(super) async fn look(&self, after: u64, limit: usize) -> Result<Vec<Left>, StoreError> {
        self.call(async || self.memory.look(after, limit).await).await
    }
}
