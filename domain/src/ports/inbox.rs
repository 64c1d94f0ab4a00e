use async_trait::async_trait;

use super::StoreError;
use crate::{Notification, NotificationId, Timestamp, Topic, UserId};

/// The durable inbox: notifications that are kept until the user reads them.
///
/// An item is *undelivered* until a client acknowledges it (or it is written to a client that does not acknowledge)
/// or the user reads it; it is *unread* until the user reads it. The store keeps items exactly as they are, in the
/// order in which they were added. **Every write is durable when its call returns.**
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Adds notifications, all or none, also for whoever looks at the same time. An id that is there already is not
    /// changed. At most 1,000 at a time.
    async fn add(&self, notifications: &[Notification], by: EnteredBy) -> Result<(), StoreError>;

    /// Returns the user's undelivered items, oldest first: at most `limit`.
    async fn undelivered(&self, user: &UserId, limit: usize) -> Result<Vec<InboxItem>, StoreError>;

    /// Records that these were delivered, and returns the ids of those that were undelivered until now, in any order.
    /// Unknown ids and ids of other users change nothing. So of several nodes that mark an item, one learns that it was
    /// the first; and because its answer may get lost, a repeat with the same `at` returns the same ids. (So two nodes that
    /// mark an item in the same microsecond both learn it. Without that, a lost answer would lose up to 1,000 ends.)
    async fn mark_delivered(
        &self,
        items: &[(UserId, NotificationId)],
        at: Timestamp,
    ) -> Result<Vec<NotificationId>, StoreError>;

    /// Returns the user's items, newest first: at most `limit`, only unread ones if `unread_only`, and only those
    /// added before the item `before`, if it is given. Returns nothing if `before` is unknown or another user's.
    async fn page(
        &self,
        user: &UserId,
        unread_only: bool,
        before: Option<NotificationId>,
        limit: usize,
    ) -> Result<Vec<InboxItem>, StoreError>;

    /// Marks items as read and delivered; repeating it changes nothing, not even the time. Returns the items that were
    /// undelivered until now, oldest first (at most 1,000; call again while it returns that many), or `None` if
    /// [`Which::One`] names no item of this user. **Of any number of concurrent calls, one returns an item.**
    async fn mark_read(
        &self,
        user: &UserId,
        which: Which,
        at: Timestamp,
    ) -> Result<Option<Vec<InboxItem>>, StoreError>;

    /// Returns how many unread items the user has.
    async fn unread(&self, user: &UserId) -> Result<u64, StoreError>;

    /// Removes an item of any user, read or not. Returns it, or `None` if there is none with this id. The id may be
    /// added again.
    async fn remove(&self, id: NotificationId) -> Result<Option<Removed>, StoreError>;

    /// Removes the user's undelivered items that entered by policy, or those of them with one topic, and returns them:
    /// at most 1,000; call again while it returns that many. Items that entered by expiry have had their outcome.
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

/// Selects items of a user's inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    /// The item with this id.
    One(NotificationId),
    /// All items.
    All,
}

/// Why a notification is in the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EnteredBy {
    /// Its policy is `inbox`. It has an outcome when it is delivered or read.
    Policy,
    /// Its TTL ended while it was deferred. Its outcome was `promoted`.
    Expiry,
}

/// A notification in the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxItem {
    /// The notification.
    pub notification: Notification,
    /// Why it is here.
    pub by: EnteredBy,
    /// When the user read it, if they did.
    pub read_at: Option<Timestamp>,
}
