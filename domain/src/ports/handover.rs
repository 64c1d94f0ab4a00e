use async_trait::async_trait;

use super::StoreError;
use crate::Notification;

/// What a stopping node leaves for the next one.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Handover: Send + Sync {
    /// Leaves these, in this order, all or none; ids that are there already are left as they are. At most
    /// 1,000 at a time. Each has its `ttl` filled in.
    async fn leave(&self, waiting: &[Notification]) -> Result<(), StoreError>;

    /// Takes at most `limit` of what was left, in the order in which it was left, and removes it: two nodes
    /// that take at once never take the same.
    async fn take(&self, limit: usize) -> Result<Vec<Notification>, StoreError>;
}
