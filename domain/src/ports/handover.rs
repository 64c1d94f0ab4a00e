use async_trait::async_trait;

use super::StoreError;
use crate::{Notification, NotificationId, Timestamp, UserId};

/// What a stopping node leaves for the next one, or for those that run.
///
/// Whatever takes something removes it: two nodes that take at once never take the same. What is taken is in
/// the memory of the node that took it, as if it had been accepted there.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Handover: Send + Sync {
    /// Leaves these, in this order, all or none; ids that are there already are left as they are. At most
    /// 1,000 at a time. Each has its `ttl` filled in.
    async fn leave(&self, waiting: &[Notification]) -> Result<(), StoreError>;

    /// Takes at most `limit` of what was left, in the order in which it was left.
    async fn take(&self, limit: usize) -> Result<Vec<Notification>, StoreError>;

    /// Takes at most `limit` of what was left for this user, in the order in which it was left. Cheap when
    /// there is nothing.
    async fn take_for(&self, user: &UserId, limit: usize) -> Result<Vec<Notification>, StoreError>;

    /// Takes the one with this id, if it was left.
    async fn take_one(&self, id: NotificationId) -> Result<Option<Notification>, StoreError>;

    /// Takes at most `limit` of those whose TTL has ended by `now`. One without a `ttl` never ends.
    async fn take_expired(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError>;

    /// Looks at what is left and takes nothing: at most `limit`, in the order in which it was left, those
    /// behind the place `after` (0: from the first). Cheap when there is nothing.
    async fn look(&self, after: u64, limit: usize) -> Result<Vec<Left>, StoreError>;

    /// Whether another process may leave something while this one runs. Where that is so, it is looked for
    /// every second.
    fn is_shared(&self) -> bool;
}

/// A notification that was left, seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Where it is in the order in which things were left; from 1.
    pub place: u64,
    /// Whom it is for.
    pub user: UserId,
}
