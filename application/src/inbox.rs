//! A user's view of their inbox, reading it, and the end of items that were read long ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use doorstep_domain::ports::{Clock, Inbox, InboxItem, Retention, StoreError, Which};
use doorstep_domain::{NotificationId, UserId};

use crate::delivery::Delivery;

/// Shows users their inboxes, and lets them mark items as read.
#[derive(Clone)]
pub struct InboxViews {
    inbox: Arc<dyn Inbox>,
    delivery: Arc<Delivery>,
}

opaque!(InboxViews);

/// A page of the inbox, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxPage {
    /// The items.
    pub items: Vec<InboxItem>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<NotificationId>,
}

impl InboxViews {
    /// The largest number of items per page.
    pub const MAX_PAGE: usize = 100;

    /// Creates views of this inbox. Reads go through the delivery that pushes its items, because an item that was
    /// read must not be pushed any more.
    pub fn new(inbox: Arc<dyn Inbox>, delivery: Arc<Delivery>) -> Self {
        Self { inbox, delivery }
    }

    /// Returns the user's items before `before`, newest first, and only unread ones if `unread_only`. At most
    /// `limit`, and never more than [`InboxViews::MAX_PAGE`].
    pub async fn page(
        &self,
        user: &UserId,
        unread_only: bool,
        before: Option<NotificationId>,
        limit: usize,
    ) -> Result<InboxPage, StoreError> {
        let limit = limit.clamp(1, Self::MAX_PAGE);
        // One extra item tells whether there is a next page.
        let mut items = self.inbox.page(user, unread_only, before, limit + 1).await?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = more.then(|| items.last().map(|item| item.notification.id)).flatten();
        Ok(InboxPage { items, next })
    }

    /// The user read this item, or all; reading again changes nothing. Returns false if there is no such item, or
    /// it is another user's.
    pub async fn read(&self, user: &UserId, which: Which) -> Result<bool, StoreError> {
        self.delivery.read(user, which).await
    }
}

/// Removes items some time after they were read, in small steps.
pub struct ReadItems {
    store: Arc<dyn Retention>,
    clock: Arc<dyn Clock>,
    kept: Duration,
    removed: AtomicU64,
}

opaque!(ReadItems);

impl ReadItems {
    /// How many items a step removes: few enough that no other write waits long.
    pub const STEP: usize = 500;

    /// Items are removed when they were read `kept` ago.
    pub fn new(store: Arc<dyn Retention>, clock: Arc<dyn Clock>, kept: Duration) -> Self {
        Self { store, clock, kept, removed: AtomicU64::new(0) }
    }

    /// Removes at most [`ReadItems::STEP`] items, those that were read first. Returns how many; fewer mean that no
    /// more are old enough.
    pub async fn remove_some(&self) -> Result<usize, StoreError> {
        // What is stored is in wall time.
        let until = self.clock.wall() - self.kept;
        let removed = self.store.remove_read(until, Self::STEP).await?;
        self.removed.fetch_add(removed, Relaxed);
        Ok(usize::try_from(removed).unwrap_or(usize::MAX))
    }

    /// How many items this has removed since it was made.
    pub fn removed(&self) -> u64 {
        self.removed.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use doorstep_domain::Timestamp;
    use doorstep_domain::ports::{MockClock, MockRetention};

    use super::*;

    #[tokio::test]
    async fn items_go_when_they_were_read_long_enough_ago_and_are_counted() {
        let (mut store, mut clock) = (MockRetention::new(), MockClock::new());
        clock.expect_now().return_const(Timestamp::from_micros(10_000_000));
        let until = Timestamp::from_micros(7_000_000);
        let step = move |&at: &Timestamp, &limit: &usize| (at, limit) == (until, ReadItems::STEP);
        store.expect_remove_read().withf(step).times(2).returning(|_, _| Ok(3));
        let items = ReadItems::new(Arc::new(store), Arc::new(clock), Duration::from_secs(3));
        assert_eq!(items.remove_some().await.unwrap(), 3);
        assert_eq!(items.remove_some().await.unwrap(), 3);
        assert_eq!(items.removed(), 6);
    }
}
