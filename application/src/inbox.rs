//! A user's view of their inbox, and reading it.

use std::sync::Arc;

use doorstep_domain::ports::{Inbox, InboxItem, StoreError, Which};
use doorstep_domain::{NotificationId, UserId};

use crate::delivery::Delivery;

/// Shows users their inboxes, and lets them mark items as read.
#[derive(Clone)]
pub struct InboxViews {
    inbox: Arc<dyn Inbox>,
    delivery: Arc<Delivery>,
}

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
