use async_trait::async_trait;

use super::StoreError;
use crate::{Session, Timestamp, TokenHash};

/// The sessions of signed-in clients. **Every write is durable when its call returns.**
#[cfg_attr(feature = "mocks", mockall::automock)]
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Stores a new session. If its user does not exist, fails and stores nothing.
    async fn open(&self, session: &Session) -> Result<(), StoreError>;

    /// Returns the session with this token, unless it has expired at `now`. At its `expires_at` it has.
    async fn find(&self, token: &TokenHash, now: Timestamp) -> Result<Option<Session>, StoreError>;

    /// Ends the session. An unknown token is not an error.
    async fn close(&self, token: &TokenHash) -> Result<(), StoreError>;

    /// Deletes the sessions that have expired at `now`, and returns how many.
    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError>;
}
