use async_trait::async_trait;

use super::StoreError;
use crate::{Notification, NotificationId, Timestamp, Topic, UserId};

/// The durable inbox: what is kept, unread, until the user reads it.
///
/// An item is *undelivered* until a client acknowledged it (or a plain one was written it) or the user read
/// it; *unread* until the user read it. The store keeps items in the order in which they were added.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Adds notifications, all or none; ids that are there already are left as they are. Durable when it
    /// returns. At most 1,000 at a time.
    async fn add(&self, notifications: &[Notification], by: EnteredBy) -> Result<(), StoreError>;

    /// The user's undelivered items, oldest first: at most `limit`.
    async fn undelivered(&self, user: &UserId, limit: usize) -> Result<Vec<InboxItem>, StoreError>;

    /// Records that these were delivered. Unknown ids and those of other users change nothing.
    async fn mark_delivered(
        &self,
        items: &[(UserId, NotificationId)],
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// The user's items, newest first: at most `limit`, only unread ones if asked, those added before the
    /// item `before` if it is given. An unknown `before` answers nothing.
    async fn page(
        &self,
        user: &UserId,
        unread_only: bool,
        before: Option<NotificationId>,
        limit: usize,
    ) -> Result<Vec<InboxItem>, StoreError>;

    /// Marks items read, and with it delivered; reading again changes nothing. Answers those that had been
    /// undelivered until now (at most 1,000; call again while it answers that many), or `None` when
    /// [`Which::One`] names no item of this user.
    async fn mark_read(
        &self,
        user: &UserId,
        which: Which,
        at: Timestamp,
    ) -> Result<Option<Vec<InboxItem>>, StoreError>;

    /// How many unread items the user has.
    async fn unread(&self, user: &UserId) -> Result<u64, StoreError>;

    /// Removes an item of any user, read or not. Returns it, or `None` if there is none with this id.
    async fn remove(&self, id: NotificationId) -> Result<Option<Removed>, StoreError>;

    /// Removes the user's undelivered items that entered by policy, or those of them with one topic: at most 1,000;
    /// call again while it returns that many. Items that entered by expiry have had their outcome.
    async fn remove_undelivered(
        &self,
        user: &UserId,
        topic: Option<Topic>,
    ) -> Result<Vec<InboxItem>, StoreError>;
}

/// An item that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The item.
    pub item: InboxItem,
    /// Whether it had been delivered or read.
    pub delivered: bool,
}

/// Which items of a user are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    /// This one.
    One(NotificationId),
    /// Every one.
    All,
}

/// How a notification came into the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EnteredBy {
    /// The policy of its kind is `inbox`: its outcome comes when it is delivered or read.
    Policy,
    /// Its TTL ended while it was deferred: its outcome, `promoted`, was then.
    Expiry,
}

/// A notification in the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxItem {
    /// The notification.
    pub notification: Notification,
    /// How it came here.
    pub by: EnteredBy,
    /// When the user read it, if they did.
    pub read_at: Option<Timestamp>,
}
