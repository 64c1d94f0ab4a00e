use async_trait::async_trait;

use super::StoreError;
use crate::{Notification, NotificationId, Timestamp, UserId};

/// Notifications that a stopping node leaves for the next node, or for other running nodes.
///
/// Taking removes: **two nodes that take at once never take the same notification**. A taken notification is in the
/// memory of the node that took it, as if it had been accepted there. It may be left again.
///
/// **What was left and what was taken is durable when the call returns.**
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Handover: Send + Sync {
    /// Leaves these notifications, in this order, all or none, also for whoever looks at the same time. An id that is
    /// there already is not changed and keeps its place. At most 1,000 at a time. Each has its `ttl` set.
    async fn leave(&self, waiting: &[Notification]) -> Result<(), StoreError>;

    /// Takes at most `limit` notifications, in the order in which they were left.
    async fn take(&self, limit: usize) -> Result<Vec<Notification>, StoreError>;

    /// Takes at most `limit` notifications of this user, in the order in which they were left. Cheap if there are
    /// none.
    async fn take_for(&self, user: &UserId, limit: usize) -> Result<Vec<Notification>, StoreError>;

    /// Takes the one with this id, if it was left.
    async fn take_one(&self, id: NotificationId) -> Result<Option<Notification>, StoreError>;

    /// Takes at most `limit` notifications whose TTL has ended by `now`, in the order in which they were left. At its
    /// deadline a notification has ended; one without a `ttl` never ends.
    async fn take_expired(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError>;

    /// Lists notifications without taking them: at most `limit`, in the order in which they were left, behind the
    /// place `after` (0: from the first). Cheap if there are none.
    async fn look(&self, after: u64, limit: usize) -> Result<Vec<Left>, StoreError>;

    /// Whether another process may leave notifications while this one runs. If so, delivery looks every second.
    fn is_shared(&self) -> bool;
}

/// A notification in the handover store, as [`Handover::look`] lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its place in the order in which notifications were left; from 1.
    pub place: u64,
    /// The user whom it is for.
    pub user: UserId,
}
