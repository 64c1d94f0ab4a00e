//! What is durable: a suite writes, closes the store, opens it again, and reads.

use std::sync::Arc;

use async_trait::async_trait;

/// A place that keeps what a store writes: a file, or a database.
#[async_trait]
pub trait Reopens: Send {
    /// The store.
    type Store: Send + Sync + 'static;

    /// Opens the store with all that was written before; closes it first if it is open.
    ///
    /// Close it as abruptly as you can: a store that writes only when it is closed in order is not durable.
    async fn reopen(&mut self) -> Arc<Self::Store>;
}
