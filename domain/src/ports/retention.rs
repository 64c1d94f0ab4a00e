use async_trait::async_trait;

use super::StoreError;
use crate::Timestamp;

/// Removes what has been kept long enough.
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Retention: Send + Sync {
    /// Removes inbox items that were read at `until` or before, beginning with those that were read first: at most
    /// `limit`, in one transaction. Returns how many. Unread items stay, whatever their age. Items that another call
    /// removes at the same time are left to it, so each is counted once. An id that was removed may be added again.
    async fn remove_read(&self, until: Timestamp, limit: usize) -> Result<u64, StoreError>;
}
